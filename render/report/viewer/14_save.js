// ---- Save the step as SVG or PNG ---------------------------------------------------------
// A drawing of its own, with its own colours: it does not depend on this page.

const PAPER = { page: "#FFFFFF", text: "#14181F", muted: "#586070", good: "#136F3A", bad: "#B3261E" };
const FONT = "Inter, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif";
const SAVED_SIDE = 232; // pixels of the longest side of the largest grid
const PNG_SCALE = 2;

/** The step in view as one SVG on a white page. */
function stepDrawing() {
  onPaper = true;
  try {
    return drawStep();
  } finally {
    onPaper = false;
  }
}

/** The panels in a row, below a title, the operation and the figures. */
function drawStep() {
  const { a, b } = view;
  const panels = state.compare && b ? comparePanels() : stepPanels(a, state.t);
  const longest = Math.max(1, ...panels.flatMap(({ grid }) => [grid.rows, grid.cols]));
  const unit = clamp(Math.floor(SAVED_SIDE / longest), state.digits ? SMALLEST_DIGIT : 3, 40);
  const pad = 24;
  let x = pad;
  const top = 118;
  const content = [];
  for (const { name, grid, marks, note, content: draw } of panels) {
    const group = draw ? draw(grid, unit) : gridGroup(grid, unit, marks);
    group.setAttribute("transform", `translate(${x} ${top})`);
    content.push(words(x, top - 26, name, 13, PAPER.text, 600), words(x, top - 10, `${dimensions(grid)} ${note ? `· ${note}` : ""}`, 11, PAPER.muted), group);
    x += Math.max(grid.cols * unit, 150) + 28;
  }
  const width = Math.max(x - 28 + pad, state.compare ? 800 : 480);
  const height = top + Math.max(...panels.map(({ grid }) => grid.rows)) * unit + pad;
  return s("svg", { xmlns: SVG_NS, width, height, viewBox: `0 0 ${width} ${height}`, "font-family": FONT, role: "img" },
    s("title", {}, titleText()), s("desc", {}, factText()),
    s("rect", { width, height, fill: PAPER.page }),
    words(pad, 36, titleText(), 16, PAPER.text, 600), words(pad, 58, factText(), 12, PAPER.muted), content);
}

function words(x, y, text, size, colour, weight = 400) {
  return s("text", { x, y, "font-size": size, fill: colour, "font-weight": weight }, text);
}

function titleText() {
  const { columns } = view.archive;
  const a = visible(columns.id[state.a], 60);
  if (state.compare && view.b) return `A ${a} and B ${visible(columns.id[state.b], 60)}`;
  return `${a} · ${positionText()} · ${visible(operationAt(view.a, state.t).name, 60)}`;
}

function factText() {
  if (!state.compare || !view.b) return factsOf(view.a, state.t);
  return `A: ${factsOf(view.a, state.t)}; B: ${factsOf(view.b, stepOfB(state.t))}`;
}

function factsOf(episode, t) {
  const task = view.archive.task(episode.row);
  const facts = [task && `task ${visible(task, 40)}`, view.archive.outcome(episode.row)];
  if (episode.steps) facts.push(`reward ${number(episode.rewards[t], 3, true)}`, `return ${number(episode.returns[t])}`);
  if (episode.steps && episode.scores) {
    const change = number(episode.scores[t + 1] - episode.scores[t], 3, true);
    facts.push(`${view.archive.index.scoreLabel.toLowerCase()} ${number(episode.scores[t + 1])} (${change})`);
  }
  return facts.filter(Boolean).join(" · ");
}

/** A name that is safe on every system. */
function fileName(suffix) {
  const id = view.archive.columns.id[state.a].replace(/[^A-Za-z0-9._-]+/g, "-").slice(0, 60) || "episode";
  return `${id}-step${String(view.a.dropped + state.t + 1).padStart(4, "0")}.${suffix}`;
}

function canSave() {
  if (view.a?.arc && view.a.steps && (!state.compare || view.b?.arc)) return true;
  say("Only steps of grids can be saved as a picture.");
  return false;
}

function saveSvg() {
  if (!canSave()) return;
  const text = new XMLSerializer().serializeToString(stepDrawing());
  download(new Blob([text], { type: "image/svg+xml" }), fileName("svg"));
}

async function savePng() {
  if (!canSave()) return;
  const drawing = stepDrawing();
  const [width, height] = ["width", "height"].map((name) => Number(drawing.getAttribute(name)));
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(drawing))}`;
  await image.decode();
  const canvas = h("canvas", { width: width * PNG_SCALE, height: height * PNG_SCALE });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  canvas.toBlob((blob) => download(blob, fileName("png")), "image/png");
}

function download(blob, name) {
  const address = URL.createObjectURL(blob);
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  say(`Saved ${name}.`);
}
