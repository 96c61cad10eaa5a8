// ---- Timeline ----------------------------------------------------------------------------
// Score curve with numbered key moments, reward bars around zero and one strip of operations, all
// on one axis. State i lies at i, step t between t and t + 1. It is a slider: drag, click, keys.

const LEFT = 74;
const RIGHT = 26;
const ROW = { markers: 22, score: 84, gap: 10, reward: 34, strip: 18, axis: 18 };
const TALLEST_SCORE = 190;
let scoreHeight = ROW.score;

/** Vertical positions of the parts, for a curve so many pixels high. */
function timelineRows(high = scoreHeight) {
  const compare = state.compare && view.b !== null;
  const score = ROW.markers;
  const reward = score + high + ROW.gap;
  const strip = reward + ROW.reward + ROW.gap;
  const second = strip + ROW.strip + 4;
  const end = compare ? second + ROW.strip : strip + ROW.strip;
  return { score, reward, strip, second, end, height: end + ROW.axis, compare };
}

/** Horizontal position of a state of an episode. */
function timeScale(episode, width) {
  const both = state.compare && view.b !== null && state.by === "step";
  const last = Math.max(both ? Math.max(view.a.steps, view.b.steps) : episode.steps, 1);
  return (at) => LEFT + (at / last) * (width - LEFT - RIGHT);
}

/** What the curve shows: the score, or the return where there is none. */
function curveOf(episode) {
  if (episode.scores) return episode.scores;
  const values = new Float64Array(episode.steps + 1);
  values[0] = episode.total - episode.rewards.reduce((sum, reward) => sum + reward, 0);
  values.set(episode.returns, 1);
  return values;
}

/** Range of finite values of several curves; a score stays within 0..1. */
function rangeOf(curves, scored) {
  let [low, high] = scored ? [0, 1] : [0, 0];
  for (const curve of curves) {
    for (const value of curve) {
      if (!Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  return high > low ? [low, high] : [low, low + 1];
}

let timelineShown = "";

/** Pixels the timeline has across; the same as the stage has. */
function timelineWidth() {
  return Math.max(Math.floor(Number.parseFloat(layout.stage)), 240);
}

function showTimeline() {
  const width = timelineWidth();
  const now = [state.a, state.compare && state.b, state.by, state.palette, layout.stage, isDark(), layout.unit].join();
  if (now !== timelineShown) {
    timelineShown = now;
    const box = byId("timeline");
    const spare = roomFor(box) - timelineRows(ROW.score).height;
    scoreHeight = Math.round(clamp(ROW.score + spare, ROW.score, TALLEST_SCORE));
    drawTimeline(box, width);
  }
  moveCursor(width);
}

function drawTimeline(box, width) {
  const rows = timelineRows();
  const episodes = rows.compare ? [view.a, view.b] : [view.a];
  const [low, high] = rangeOf(episodes.map(curveOf), Boolean(view.a.scores));
  const y = (value) => rows.score + scoreHeight - ((value - low) / (high - low)) * scoreHeight;
  const svg = s("svg", { width, height: rows.height, viewBox: `0 0 ${width} ${rows.height}`, "aria-hidden": "true" });
  svg.append(s("g", { class: "cursor-back" }), scoreAxis(low, high, y, width), rewardBars(view.a, rows, width));
  episodes.toReversed().forEach((episode, i) => {
    svg.append(curve(episode, y, width, i === episodes.length - 1 ? "a" : "b"));
  });
  svg.append(strip(view.a, rows.strip, width));
  if (rows.compare) svg.append(strip(view.b, rows.second, width), stripNames(rows));
  svg.append(timeAxis(rows, width), s("g", { class: "cursor" }));
  if (!rows.compare) svg.append(markers(view.a, y, width), failureMarks(view.a, rows.reward - ROW.gap, width));
  box.querySelector("svg")?.remove();
  box.prepend(svg);
}

function label(x, y, text, anchor = "end", kind = "axis") {
  return s("text", { x, y, "text-anchor": anchor, class: kind }, text);
}

function scoreAxis(low, high, y, width) {
  const name = view.a.scores ? view.archive.index.scoreLabel : "Return";
  const digits = high - low >= 100 ? 0 : high - low >= 10 ? 1 : 2;
  const ticks = [low, (low + high) / 2, high];
  return s("g", {},
    ticks.map((value) => [
      s("path", { class: "rule", d: `M${LEFT} ${y(value).toFixed(1)}H${width - RIGHT}` }),
      label(LEFT - 7, y(value) + 4, number(value, digits)),
    ]).flat(),
    label(0, 14, visible(name, 11), "start", "axis name"));
}

/** Points of a curve as a path; a value that is not finite breaks it. */
function linePath(values, x, y) {
  let d = "";
  let pen = "M";
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) {
      pen = "M";
      return;
    }
    d += `${pen}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  });
  return d;
}

function curve(episode, y, width, which) {
  const x = timeScale(episode, width);
  const values = curveOf(episode);
  const last = values.length - 1;
  const named = state.compare && view.b !== null;
  return s("g", { class: `curve ${which}` },
    s("path", { d: linePath(values, x, y) }),
    named && Number.isFinite(values[last]) ? label(x(last) + 6, y(values[last]) + (which === "a" ? 0 : 9), which.toUpperCase(), "start", "curve-name") : null);
}

/** The largest reward that bars are scaled to: one that dwarfs the others is cut instead. */
function rewardScale(rewards) {
  const sizes = Array.from(rewards, Math.abs).filter((v) => Number.isFinite(v) && v > 0).sort((a, b) => a - b);
  if (!sizes.length) return 1;
  const most = sizes.at(-1);
  const usual = sizes[Math.floor(0.9 * (sizes.length - 1))];
  return most > 6 * usual ? 1.5 * usual : most;
}

function rewardBars(episode, rows, width) {
  const x = timeScale(episode, width);
  const most = rewardScale(episode.rewards);
  const finite = Array.from(episode.rewards).filter(Number.isFinite).map((v) => clamp(v, -most, most));
  const [low, high] = [Math.min(0, ...finite), Math.max(0, ...finite)];
  const y = (value) => rows.reward + ((high - value) / (high - low || 1)) * ROW.reward;
  const paths = { good: "", bad: "" };
  const cuts = [];
  const wide = x(1) - x(0);
  const gap = Math.min(wide * 0.15, 1.5);
  episode.rewards.forEach((value, t) => {
    if (!Number.isFinite(value) || Math.abs(value) < most * 1e-4) return;
    const [left, top] = [x(t) + gap, y(clamp(value, -most, most))];
    const across = Math.max(wide - 2 * gap, 1);
    paths[value > 0 ? "good" : "bad"] += `M${left.toFixed(1)} ${y(0).toFixed(1)}V${top.toFixed(1)}h${across.toFixed(1)}V${y(0).toFixed(1)}z`;
    if (Math.abs(value) > most) cuts.push(cutMark(left, across, top + Math.sign(value) * 9, value));
  });
  return s("g", {},
    s("path", { class: "bar good", d: paths.good }), s("path", { class: "bar bad", d: paths.bad }), cuts.slice(0, 8),
    s("path", { class: "rule strong", d: `M${LEFT} ${y(0).toFixed(1)}H${width - RIGHT}` }),
    label(0, rows.reward + 11, "Reward", "start", "axis name"),
    label(LEFT - 7, rows.reward + 25, `±${number(most, most >= 10 ? 0 : 2)}`));
}

/** A gap in a bar that is too long to be drawn, with its value beside it. */
function cutMark(left, across, y, value) {
  return s("g", {},
    s("path", { class: "cut", d: `M${left - 2} ${y + 3}L${left + across + 2} ${y - 3}` }),
    // On the left there is the axis, whose words it must not touch.
    left < LEFT + 42
      ? label(left + across + 5, y + 4, number(value, 2, true), "start", "axis value")
      : label(left - 5, y + 4, number(value, 2, true), "end", "axis value"));
}

const NARROWEST_ICON = 19; // pixels a step must be wide for its sign to be drawn

/** Operations as signs where there is room, and as blocks coloured by kind where there is not. */
function strip(episode, top, width) {
  const x = timeScale(episode, width);
  const wide = x(1) - x(0);
  const signs = wide >= NARROWEST_ICON;
  const paths = new Map();
  const icons = [];
  for (let t = 0; t < episode.steps; t++) {
    const operation = operationAt(episode, t);
    const gap = wide > 3 ? 0.5 : 0;
    const d = `M${(x(t) + gap).toFixed(2)} ${top}h${(wide - 2 * gap).toFixed(2)}v${ROW.strip}h${(-wide + 2 * gap).toFixed(2)}z`;
    const kind = signs ? "none" : operation.kind;
    paths.set(kind, (paths.get(kind) || "") + d);
    if (!signs) continue;
    const icon = swatch(operation);
    for (const [name, value] of Object.entries({ x: x(t) + wide / 2 - 7, y: top + 2, width: 14, height: 14 })) icon.setAttribute(name, value);
    icons.push(icon);
  }
  return s("g", { class: "strip" }, [...paths].map(([kind, d]) => s("path", { d, class: `kind-${kind}` })), icons);
}

let legendShown = "";

/** What the colours of the strip mean; nothing where it has signs. */
function showLegend() {
  const of = [state.a, layout.stage, state.compare && state.by === "step" && state.b].join();
  if (of === legendShown) return;
  legendShown = of;
  const x = timeScale(view.a, timelineWidth());
  const wide = x(1) - x(0);
  const kinds = new Set();
  for (let t = 0; t < view.a.steps && wide < NARROWEST_ICON; t++) kinds.add(operationAt(view.a, t).kind);
  kinds.delete("unknown");
  const legend = byId("kinds");
  legend.hidden = !kinds.size;
  legend.replaceChildren(...Object.keys(KIND_NAMES).filter((kind) => kinds.has(kind)).map((kind) => h("li", {},
    s("svg", { width: 10, height: 10, "aria-hidden": "true" }, s("rect", { width: 10, height: 10, rx: 2, class: `kind-${kind}` })), KIND_NAMES[kind])));
}

function stripNames(rows) {
  return s("g", {}, label(LEFT - 7, rows.strip + 13, "A"), label(LEFT - 7, rows.second + 13, "B"));
}

function timeAxis(rows, width) {
  const x = timeScale(view.a, width);
  const both = rows.compare && state.by === "step";
  const steps = both ? Math.max(view.a.steps, view.b.steps) : view.a.steps;
  if (rows.compare && state.by === "fraction") {
    return s("g", {}, [0, 0.25, 0.5, 0.75, 1].map((f) => label(x(f * view.a.steps), rows.end + 13, `${f * 100}%`, "middle")));
  }
  const every = niceStep(steps, (width - LEFT - RIGHT) / 56);
  const ticks = [];
  for (let t = 0; t < steps; t++) {
    const round = (t + view.a.dropped + 1) % every === 0 && t >= 0.75 * every;
    if (t === 0 || round) ticks.push(label(x(t + 0.5), rows.end + 13, shownStep(view.a, t), "middle"));
  }
  return s("g", {}, ticks);
}

/** 1, 2 or 5 times a power of ten, so that there are at most `most` ticks. */
function niceStep(length, most) {
  let step = 1;
  for (let i = 0; length / step > most; i++) step *= i % 3 === 1 ? 2.5 : 2;
  return step;
}

/** Key moments as numbered flags above the curve. */
function markers(episode, y, width) {
  const x = timeScale(episode, width);
  const values = curveOf(episode);
  let free = -Infinity;
  return s("g", { class: "markers" }, episode.moments.map(([at, , text], i) => {
    const flag = Math.max(x(at), free);
    free = flag + 17;
    const foot = Number.isFinite(values[at]) ? y(values[at]) : y(0);
    return s("g", { "data-moment": i },
      s("path", { d: `M${flag.toFixed(1)} 18L${x(at).toFixed(1)} ${Math.max(foot - 3, 22).toFixed(1)}` }),
      s("circle", { cx: flag.toFixed(1), cy: 10, r: 7.5 }),
      label(flag, 13.5, i + 1, "middle", "flag"),
      s("circle", { class: "foot", cx: x(at).toFixed(1), cy: foot.toFixed(1), r: 2.6 }),
      s("title", {}, visible(text, 80)));
  }));
}

const NEAREST_MARKS = 4; // pixels; of failing steps that are nearer the first is marked

/** A small triangle under each state that shows a failure mode. */
function failureMarks(episode, top, width) {
  const x = timeScale(episode, width);
  const states = [...new Set(episode.failures.flatMap((failure) => failure.states))].sort((a, b) => a - b);
  let [d, last] = ["", -Infinity];
  for (const at of states) {
    if (x(at) - last < NEAREST_MARKS) continue;
    last = x(at);
    d += `M${last.toFixed(1)} ${top + 2}l3.5 6h-7z`;
  }
  return s("path", { class: "failing", d });
}

/** The step whose outcome is a key moment; the first state has no step before it. */
function stepOfMoment([at]) {
  return Math.max(at - 1, 0);
}

let momentsShown = null;

/** The same moments as buttons in words. */
function showMoments() {
  const list = byId("moments");
  const { moments } = view.a;
  list.hidden = state.compare || !moments.length;
  byId("failures").hidden = state.compare || !view.a.failures.length;
  if (momentsShown === view.a) return;
  momentsShown = view.a;
  byId("failures").replaceChildren(...view.a.failures.map((failure) => h("li", {},
    h("button", { type: "button", title: visible(failure.text, 120), onclick: () => hopFailure(1, failure) },
      h("b", { "aria-hidden": "true" }, "!"), failure.mode, h("span", {}, placesOf(failure))))));
  list.replaceChildren(...moments.map((moment, i) => h("li", {},
    h("button", { type: "button", "data-step": stepOfMoment(moment), onclick: () => goTo(stepOfMoment(moment)) },
      h("b", {}, i + 1), visible(moment[2], 60)))));
}

/** `step 8`, or how many steps show it. */
function placesOf({ states }) {
  const of = (at) => shownStep(view.a, stepOfMoment([at]));
  return states.length === 1 ? `step ${of(states[0])}` : `${integer(states.length)} steps from ${of(states[0])} on`;
}

function moveCursor(width) {
  const rows = timelineRows();
  const x = timeScale(view.a, width);
  const { t } = state;
  const wide = Math.max(x(t + 1) - x(t), 2);
  const back = { x: x(t).toFixed(1), y: rows.score - 4, width: wide.toFixed(1), height: rows.end - rows.score + 8, rx: 2 };
  byId("timeline").querySelector(".cursor-back").replaceChildren(s("rect", back));
  const [low, high] = rangeOf((rows.compare ? [view.a, view.b] : [view.a]).map(curveOf), Boolean(view.a.scores));
  const value = curveOf(view.a)[Math.min(t + 1, view.a.steps)];
  const y = rows.score + scoreHeight - ((value - low) / (high - low)) * scoreHeight;
  const dot = Number.isFinite(y) && s("circle", { cx: x(Math.min(t + 1, view.a.steps)).toFixed(1), cy: y.toFixed(1), r: 4.5 });
  byId("timeline").querySelector(".cursor").replaceChildren(...[s("rect", back), dot].filter(Boolean));
  for (const button of byId("moments").querySelectorAll("button")) {
    button.toggleAttribute("aria-current", Number(button.dataset.step) === t);
  }
  const slider = byId("timeline");
  slider.setAttribute("aria-valuemax", view.a.dropped + Math.max(view.a.steps, 1));
  slider.setAttribute("aria-valuemin", view.a.dropped + 1);
  slider.setAttribute("aria-valuenow", view.a.dropped + t + 1);
  slider.setAttribute("aria-valuetext", positionText());
}

function startTimeline() {
  const box = byId("timeline");
  const seek = (event) => {
    if (!view.a) return;
    const { left, width } = box.querySelector("svg").getBoundingClientRect();
    const x = timeScale(view.a, width);
    const t = Math.floor((event.clientX - left - x(0)) / (x(1) - x(0)));
    if (clamp(t, 0, lastStep()) !== state.t) goTo(t);
  };
  box.addEventListener("pointerdown", (event) => {
    box.setPointerCapture(event.pointerId);
    seek(event);
  });
  box.addEventListener("pointermove", (event) => {
    if (box.hasPointerCapture(event.pointerId)) seek(event);
  });
}
