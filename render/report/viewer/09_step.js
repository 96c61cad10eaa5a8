// ---- The step ----------------------------------------------------------------------------
// Heading of the episode, the panels Before, After and Target at one scale, and the facts.

/** A heading, a figure and what it says below: one panel of the stage. */
function panel(name, note, picture_, extra) {
  return h("figure", { class: "panel", "data-panel": name.toLowerCase() },
    h("figcaption", {}, h("b", {}, name), note && h("span", {}, note), h("em", { title: extra }, extra)),
    picture_ || h("p", { class: "absent" }, "not recorded"));
}

/** Pixels of the stage that nothing takes but `element`, if all that is in it is to be seen. */
function roomFor(element) {
  const stage = byId("stage");
  const style = getComputedStyle(stage);
  const inside = stage.clientHeight - Number.parseFloat(style.paddingTop) - Number.parseFloat(style.paddingBottom);
  const others = [...stage.children].filter((child) => child !== element);
  return inside - others.reduce((sum, child) => sum + child.offsetHeight, 0);
}

// Changes with the size of the stage; what depends on it alone is measured once for each.
const layout = { stage: "", unitOf: "", unit: 1 };

function watchLayout() {
  const stage = byId("stage");
  const measure = () => {
    const style = getComputedStyle(stage);
    const inside = (side) => Number.parseFloat(style[`padding${side}`]);
    layout.stage = `${stage.clientWidth - inside("Left") - inside("Right")} ${stage.clientHeight - inside("Top") - inside("Bottom")}`;
  };
  measure();
  new ResizeObserver(() => {
    measure();
    if (view.a) showEpisode();
  }).observe(stage);
}

/** `measureUnit`, asked again only when something it depends on has changed. */
function unitFor(grids, columns) {
  const of = [layout.stage, state.a, state.compare && state.b, columns, isPrinting(), ...grids.map(dimensions)].join();
  if (of !== layout.unitOf) Object.assign(layout, { unitOf: of, unit: measureUnit(grids, columns) });
  return layout.unit;
}

/** The largest side of a cell, in pixels, with which all grids fit beside each other. */
function measureUnit(grids, columns) {
  const box = byId("panels");
  const gap = Number.parseFloat(getComputedStyle(box).columnGap) || 0;
  const lines = Math.ceil(grids.length / columns);
  const wide = (box.clientWidth - gap * (columns - 1)) / columns - 2 * MARGIN;
  const grown = byId("timeline").offsetHeight - timelineRows(ROW.score).height;
  const room = Math.max(roomFor(box) + grown, 210 * lines);
  const high = room / lines - 62 - 2 * MARGIN;
  const most = Math.max(1, ...grids.map((grid) => grid.cols));
  const tall = Math.max(1, ...grids.map((grid) => grid.rows));
  const unit = Math.min(wide / most, high / tall, 40);
  return unit >= 4 ? Math.floor(unit) : Math.max(Math.floor(unit * 4) / 4, 1);
}

/** Panels in a row: all, or two on a narrow stage. */
function panelColumns(count) {
  return Number.parseFloat(layout.stage) < 520 ? Math.min(2, count) : count;
}

/** What the three panels show at step `t`; `saveStep` uses the same list. */
function stepPanels(episode, t) {
  const before = gridAt(episode, t);
  const after = gridAt(episode, Math.min(t + 1, episode.steps));
  const target = targetOf(episode);
  const selection = episode.steps ? selectionAt(episode, t) : null;
  const changed = unequal(after, before);
  const panels = [
    { name: "Before", grid: before, marks: [{ kind: "selected", mask: selection }], note: selectionNote(episode, t) },
    { name: "After", grid: after, marks: [{ kind: "changed", mask: changed }], note: changeNote(episode, t, before, after) },
  ];
  if (target) {
    const wrong = unequal(target, after);
    const resized = after.rows !== target.rows || after.cols !== target.cols;
    const left = countOf(wrong);
    const note = left ? `${integer(left)} to go${resized ? ", other size" : ""}` : resized ? "other size" : "reached";
    panels.push({ name: "Target", grid: target, marks: [{ kind: "wrong", mask: wrong }], note });
  }
  return panels;
}

function selectionNote(episode, t) {
  if (!episode.selected || !episode.steps) return "";
  return episode.selected[t] ? `${integer(episode.selected[t])} selected` : "nothing selected";
}

function changeNote(episode, t, before, after) {
  if (!episode.steps) return "";
  if (before.rows !== after.rows || before.cols !== after.cols) {
    return `resized from ${dimensions(before)}`;
  }
  return episode.changed[t] ? `${integer(episode.changed[t])} changed` : "no change";
}

function showPanels(panels) {
  const columns = panelColumns(panels.length);
  byId("panels").style.setProperty("--columns", columns);
  byId("panels").classList.remove("scrolls");
  const unit = unitFor(panels.map(({ grid }) => grid), columns);
  byId("panels").replaceChildren(...panels.map(({ name, grid, marks, note, content }) => {
    const label = `${name}: ${grid.rows} by ${grid.cols} cells${note ? `, ${note}` : ""}`;
    const drawn = content
      ? picture(grid, unit, label, content(grid, unit))
      : gridPicture(grid, unit, label, marks);
    return panel(name, dimensions(grid), grid.rows ? drawn : null, note);
  }));
}

/** Shows everything about the open episode, or the two that are compared. */
function showEpisode() {
  document.body.classList.toggle("comparing", state.compare);
  byId("failed").hidden = !view.failed;
  byId("failed").textContent = visible(view.failed, 400);
  if (!view.a) {
    showNothing();
    return;
  }
  state.t = clamp(state.t, 0, lastStep());
  showHeading();
  showMoments();
  showLegend();
  if (state.compare && view.b) showComparison();
  else showStep();
  showTimeline();
  showOperations();
  showTransport();
  announce();
  if (!performance.getEntriesByName("first-step").length) performance.mark("first-step");
}

/** An episode that could not be read leaves its line, and nothing of the one before it. */
function showNothing() {
  byId("heading").replaceChildren(episodeLine(state.a, ""));
  for (const id of ["panels", "facts", "timeline", "moments", "failures", "kinds"]) byId(id).replaceChildren();
  timelineShown = legendShown = "";
  momentsShown = null;
  operations.show(0, -1);
}

function showStep() {
  const { a } = view;
  // The facts first: the panels take the height that is left.
  byId("facts").replaceChildren(...stepFacts(a, state.t));
  if (a.arc) showPanels(stepPanels(a, state.t));
  else showFields(a, state.t);
}

function showHeading() {
  byId("heading").replaceChildren(...(state.compare && view.b
    ? [episodeLine(state.a, "A"), episodeLine(state.b, "B")]
    : [episodeLine(state.a, "")]));
}

/** One line about an episode: id, task, outcome, figures, and who kept it. */
function episodeLine(row, tag) {
  const { archive } = view;
  const { columns } = archive;
  const task = archive.task(row);
  const outcome = archive.outcome(row);
  const facts = [
    task && ["task", visible(task, 120)],
    columns.pair[row] >= 0 && ["pair", integer(columns.pair[row])],
    ["steps", integer(columns.steps[row])],
    columns.dropped[row] > 0 && ["not kept", integer(columns.dropped[row])],
    ["return", number(columns.return[row])],
    archive.numberAt("best", row) !== null && ["best", number(columns.best[row])],
    archive.kept(row) && ["kept by", visible(archive.kept(row), 80)],
  ].filter(Boolean);
  return h("div", { class: "episode-line" },
    tag && h("b", { class: `tag ${tag.toLowerCase()}` }, tag),
    h("h2", { class: "id" }, visible(columns.id[row], 80)),
    h("span", { class: `outcome ${outcome}` }, h("i", { "aria-hidden": "true" }, OUTCOME_GLYPHS[outcome] || "•"), outcome),
    h("dl", {}, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { title: value }, value)))));
}

// ---- Facts

/** A change as an arrow, a sign and a number; `judged` where more is better. */
function delta(value, digits = 3, judged = true) {
  if (value === null || Number.isNaN(value)) return null;
  const text = number(value, digits, true);
  const same = Number(text.replace("−", "-")) === 0;
  const kind = same ? "same" : !judged ? "plain" : value > 0 ? "good" : "bad";
  const arrow = same ? "" : value > 0 ? "▲" : "▼";
  return h("span", { class: `delta ${kind}` }, h("i", { "aria-hidden": "true" }, arrow), same ? "±0" : text);
}

function tile(name, value, ...more) {
  return h("div", { class: `tile ${name.toLowerCase().replaceAll(" ", "-")}` }, h("dt", {}, name), h("dd", {}, h("span", {}, value), more));
}

function operationTile(episode, t) {
  const operation = operationAt(episode, t);
  const badges = badgesAt(episode, t).map(({ kind, text }) => h("span", { class: `badge ${kind}` }, text));
  const name = visible(operation.name, 60);
  return h("div", { class: "tile operation" }, h("dt", {}, episode.operations ? "Operation" : "Action"),
    h("dd", {}, swatch(operation), h("strong", { title: name }, name), badges));
}

function stepFacts(episode, t) {
  if (!episode.steps) return [tile("Operation", "no step was recorded")];
  const facts = [
    operationTile(episode, t),
    tile("Reward", number(episode.rewards[t], 3, true), delta(t ? episode.rewards[t] - episode.rewards[t - 1] : null)),
    tile("Return so far", number(episode.returns[t])),
  ];
  if (episode.scores) {
    const [before, after] = [episode.scores[t], episode.scores[t + 1]];
    facts.push(tile(view.archive.index.scoreLabel, number(after), delta(after - before)));
  }
  return facts;
}
