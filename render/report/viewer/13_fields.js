// ---- Fields of any other environment -----------------------------------------------------
// Two-dimensional integers as a grid, height x width x 3 as a picture, a number or a short vector
// as labelled bars, anything else as its range.

const BARS = 24; // the most values drawn as bars
const PICTURE_SIDE = 128; // pixels

/** How a field is drawn. */
function drawingOf(field) {
  const [first, second, third] = field.shape;
  const integers = !field.dtype.startsWith("float");
  if (field.shape.length === 3 && third === 3 && first > 1 && second > 1) return "picture";
  if (field.shape.length === 2 && integers && field.size > 1) return "grid";
  return field.size <= BARS ? "bars" : "range";
}

/** Smallest and largest finite value of a field over the whole episode. */
function spanOf(field) {
  if (!field.span) {
    let [low, high] = [Infinity, -Infinity];
    for (const value of field.values) {
      if (!Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
    field.span = low <= high ? [low, high] : [0, 0];
  }
  return field.span;
}

function showFields(episode, t) {
  byId("panels").classList.add("scrolls");
  byId("panels").style.setProperty("--columns", 1);
  const groups = [["state", "State"], ["action", "Action"], ["extra", "What came of it"]];
  const sections = groups.map(([group, title]) => {
    const fields = episode.fields.filter((field) => field.group === group);
    return fields.length > 0 && h("section", { class: `fields ${group}` },
      h("h3", {}, title), fields.map((field) => fieldCard(field, t)));
  });
  byId("panels").replaceChildren(...sections.filter(Boolean));
}

/** Two episodes of any environment: the state after the step, one beside the other. */
function showFieldsBeside(a, b, t, u) {
  byId("panels").classList.add("scrolls");
  byId("panels").style.setProperty("--columns", 2);
  const column = (episode, step, name) => h("section", { class: "fields state" },
    h("h3", {}, `${name}, after step ${shownStep(episode, step)}`),
    (episode.fields || []).filter((field) => field.group === "state").map((field) => fieldCard(field, step)));
  byId("panels").replaceChildren(column(a, t, "A"), column(b, u, "B"));
}

function fieldCard(field, t) {
  const name = visible(field.name, 60);
  const moves = field.group === "state" && field.rows > 1;
  const shape = field.shape.length ? field.shape.join(" × ") : "number";
  const [before, after] = [field.at(t), field.at(moves ? t + 1 : t)];
  const drawn = {
    bars: () => bars(field, before, after, moves),
    grid: () => pair(moves, field, before, after, fieldGrid),
    picture: () => pair(moves, field, before, after, fieldPicture),
    range: () => h("p", { class: "range" }, rangeText(after)),
  }[drawingOf(field)]();
  return h("div", { class: "field" }, h("h4", { title: name }, name, h("span", {}, `${shape} ${field.recorded}`)), drawn);
}

function pair(moves, field, before, after, draw) {
  if (!moves) return h("div", { class: "pair" }, draw(field, after, "value"));
  return h("div", { class: "pair" }, draw(field, before, "before"), h("span", { "aria-hidden": "true" }, "→"), draw(field, after, "after"));
}

/** Bars around zero: a line where the value was, a bar where it is. */
function bars(field, before, after, moves) {
  const [least, most] = spanOf(field);
  const [low, high] = [Math.min(least, 0), Math.max(most, 0)];
  const at = (value) => 100 * ((clamp(value, low, high) - low) / (high - low || 1));
  const digits = field.dtype.startsWith("float") ? 3 : 0;
  return h("div", { class: "bars" }, Array.from(after, (value, i) => {
    const [from, to] = [at(0), Number.isFinite(value) ? at(value) : at(0)].sort((p, q) => p - q);
    const chart = s("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("rect", { class: "bar-value", x: from, y: 1.5, width: Math.max(to - from, 0.4), height: 7 }),
      moves && Number.isFinite(before[i]) ? s("path", { class: "bar-before", d: `M${at(before[i])} 0V10` }) : null,
      s("path", { class: "bar-zero", d: `M${at(0)} 0V10` }));
    return h("div", {}, h("span", { class: "index" }, field.size > 1 ? i : ""), chart,
      h("span", { class: "value" }, number(value, digits)), h("span", { class: "change" }, moves ? delta(value - before[i], digits, false) : ""));
  }));
}

/** Integers as cells: ARC colours when they fit, shades between the extremes otherwise. */
function fieldGrid(field, values, when) {
  const [rows, cols] = field.shape;
  const unit = Math.max(Math.floor(Math.min(28, PICTURE_SIDE / Math.max(rows, cols))), 1);
  const [low, high] = spanOf(field);
  const name = `${visible(field.name, 60)}, ${when}: ${rows} by ${cols} cells`;
  if (low >= -1 && high <= 9) {
    const cells = Uint8Array.from(values, (value) => value + 1);
    return gridPicture({ cells, height: rows, width: cols, top: 0, left: 0, rows, cols }, unit, name);
  }
  const shade = (value) => Math.round(255 * ((value - low) / (high - low || 1)));
  return canvasOf(rows, cols, name, (i) => {
    const v = shade(values[i]);
    return [v, v, v];
  });
}

function fieldPicture(field, values, when) {
  const [rows, cols] = field.shape;
  const [, high] = spanOf(field);
  const scale = field.dtype.startsWith("float") && high <= 1 ? 255 : 1;
  const name = `${visible(field.name, 60)}, ${when}: picture of ${rows} by ${cols} pixels`;
  return canvasOf(rows, cols, name, (i) => [0, 1, 2].map((k) => values[3 * i + k] * scale));
}

function canvasOf(rows, cols, name, colour) {
  const canvas = h("canvas", { width: cols, height: rows, role: "img", "aria-label": name });
  const image = new ImageData(cols, rows);
  for (let i = 0; i < rows * cols; i++) image.data.set([...colour(i), 255], 4 * i);
  canvas.getContext("2d").putImageData(image, 0, 0);
  const scale = Math.max(1, Math.min(28, PICTURE_SIDE / Math.max(rows, cols)));
  canvas.style.width = `${Math.round(cols * scale)}px`;
  canvas.style.height = `${Math.round(rows * scale)}px`;
  return canvas;
}

function rangeText(values) {
  const finite = Array.from(values).filter(Number.isFinite);
  if (!finite.length) return `${plural(values.length, "value")}, none of them finite`;
  const mean = finite.reduce((a, b) => a + b, 0) / finite.length;
  const low = finite.reduce((a, b) => Math.min(a, b));
  const high = finite.reduce((a, b) => Math.max(a, b));
  return `${plural(values.length, "value")} from ${number(low)} to ${number(high)}, mean ${number(mean)}`;
}
