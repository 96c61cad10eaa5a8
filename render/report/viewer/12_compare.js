// ---- Compare two episodes ----------------------------------------------------------------
// A and B side by side after the step, the cells in which they differ, and what differs in
// numbers. They go together by step, or by the fraction of each that has passed.

/** The grids of A and B after step `t` of A, on common padded cells, and where they differ. */
function differenceAt(t) {
  const { a, b } = view;
  const u = stepOfB(t);
  const height = Math.max(a.height, b.height);
  const width = Math.max(a.width, b.width);
  const first = widened(gridAt(a, Math.min(t + 1, a.steps)), height, width);
  const second = widened(gridAt(b, Math.min(u + 1, b.steps)), height, width);
  const differ = new Uint8Array(height * width);
  for (let i = 0; i < differ.length; i++) differ[i] = first.cells[i] === second.cells[i] ? 0 : 1;
  return { t, u, first, second, differ, count: countOf(differ) };
}

/** The same grid on padded cells of another size. */
function widened(grid, height, width) {
  if (grid.height === height && grid.width === width) return grid;
  const cells = new grid.cells.constructor(height * width);
  for (let y = 0; y < grid.height; y++) {
    cells.set(grid.cells.subarray(y * grid.width, (y + 1) * grid.width), y * width);
  }
  return { ...grid, cells, height, width };
}

/** The smallest window that holds both grids. */
function union(first, second) {
  const top = Math.min(first.top, second.top);
  const left = Math.min(first.left, second.left);
  const rows = Math.max(first.top + first.rows, second.top + second.rows) - top;
  const cols = Math.max(first.left + first.cols, second.left + second.cols) - left;
  return { top, left, rows, cols };
}

function comparePanels() {
  const { a, b } = view;
  const { t, u, first, second, differ, count } = differenceAt(state.t);
  const window_ = union(first, second);
  const [wideA, wideB] = [{ ...first, ...window_ }, { ...second, ...window_ }];
  const panels = [
    { name: "A", grid: first, marks: [{ kind: "changed", mask: differ }], note: `after step ${shownStep(a, t)}` },
    { name: "B", grid: second, marks: [{ kind: "changed", mask: differ }], note: noteOfB(u) },
    {
      name: "Difference",
      grid: wideA,
      marks: [],
      note: count ? `${plural(count, "cell")} ${count === 1 ? "differs" : "differ"}` : "none",
      content: (_, unit) => differenceGroup(wideA, wideB, unit),
    },
  ];
  const target = targetOf(a);
  if (target && sameTask()) panels.push({ name: "Target", grid: target, marks: [], note: b.target ? "of both" : "of A" });
  return panels;
}

function noteOfB(u) {
  const ended = state.by === "step" && state.t > u;
  return ended ? `ended with step ${shownStep(view.b, u)}` : `after step ${shownStep(view.b, u)}`;
}

function sameTask() {
  const { task, pair } = view.archive.columns;
  return task[state.a] === task[state.b] && pair[state.a] === pair[state.b];
}

function showComparison() {
  const { a, b } = view;
  byId("facts").replaceChildren(compareTable(), compareBar());
  if (a.arc && b.arc) showPanels(comparePanels());
  else showFieldsBeside(a, b, state.t, stepOfB(state.t));
}

function compareTable() {
  const { a, b } = view;
  const [t, u] = [state.t, stepOfB(state.t)];
  const line = (name, first, second, difference) => h("tr", {}, h("th", { scope: "row" }, name),
    h("td", {}, first), h("td", {}, second), h("td", {}, difference ?? ""));
  const value = (name, first, second) => line(name, number(first), number(second), delta(second - first));
  const rows = [];
  if (a.steps && b.steps) {
    rows.push(line("Operation", operationWords(a, t), operationWords(b, u)));
    rows.push(value("Reward", a.rewards[t], b.rewards[u]), value("Return so far", a.returns[t], b.returns[u]));
  }
  if (a.scores && b.scores) rows.push(value(view.archive.index.scoreLabel, a.scores[Math.min(t + 1, a.steps)], b.scores[Math.min(u + 1, b.steps)]));
  return h("table", { class: "compare" },
    h("thead", {}, h("tr", {}, h("td"), h("th", { scope: "col" }, "A"), h("th", { scope: "col" }, "B"), h("th", { scope: "col" }, "B − A"))),
    h("tbody", {}, rows));
}

function operationWords(episode, t) {
  const operation = operationAt(episode, t);
  return h("span", { class: "with-swatch" }, swatch(operation), visible(operation.name, 40));
}

/** How A and B go together, and where they part. */
function compareBar() {
  const option = (value, text) => h("button", {
    type: "button", "aria-pressed": String(state.by === value), onclick: () => update({ by: value }),
  }, text);
  const first = view.a.arc && view.b.arc ? partingStep() : -1;
  return h("div", { class: "compare-bar" },
    h("div", { class: "segments", role: "group", "aria-label": "Align A and B" }, option("step", "by step"), option("fraction", "by fraction")),
    h("button", { type: "button", onclick: swap }, "⇄ swap A and B"),
    first >= 0 && h("button", { type: "button", onclick: () => goTo(first) }, `first difference: step ${shownStep(view.a, first)}`),
    h("p", { class: "hint" }, "Shift-click a row of the table, or its B, to choose another B."));
}

let parting = { of: "", step: -1 };

/** The first step of A after which the grids differ, or -1. */
function partingStep() {
  const of = `${state.a} ${state.b} ${state.by}`;
  if (parting.of === of) return parting.step;
  parting = { of, step: -1 };
  for (let t = 0; t < view.a.steps && parting.step < 0; t++) {
    if (differenceAt(t).count > 0) parting.step = t;
  }
  return parting.step;
}

/** Turns comparison on, with the last B or the next episode (of the same task, if there is one). */
function toggleCompare() {
  if (state.compare) {
    update({ compare: false, b: -1 });
    return;
  }
  const b = partnerOf(state.a);
  if (b < 0) say("There is no other episode to compare with.");
  else update({ compare: true, b });
}

function partnerOf(row) {
  const { task, pair } = view.archive.columns;
  const at = view.rows.indexOf(row);
  const others = [...view.rows.slice(at + 1), ...view.rows.slice(0, Math.max(at, 0))];
  const same = (other) => task[other] === task[row] && pair[other] === pair[row];
  return others.find(same) ?? others[0] ?? -1;
}

function swap() {
  if (!state.compare || state.b < 0) return;
  const t = view.b ? stepOfB(state.t) : 0;
  update({ a: state.b, b: state.a, t });
}
