// ---- Frames ------------------------------------------------------------------------------
// What the grids of an episode say about one step. A grid is a window on padded cells, so that
// cells of before, after and target have the same coordinates even when the grid is resized.

/** A window `rows x cols` at (`top`, `left`) of padded cells `width` wide. */
function windowOf(cells, height, width) {
  let top = height, left = width, bottom = -1, right = -1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (cells[y * width + x] === 0) continue;
      if (y < top) top = y;
      if (y > bottom) bottom = y;
      if (x < left) left = x;
      if (x > right) right = x;
    }
  }
  if (bottom < 0) return { cells, height, width, top: 0, left: 0, rows: 0, cols: 0 };
  return { cells, height, width, top, left, rows: bottom - top + 1, cols: right - left + 1 };
}

/** The grid of a state, 0..steps. */
function gridAt(episode, state) {
  const area = episode.height * episode.width;
  const cells = episode.cells.subarray(state * area, (state + 1) * area);
  return windowOf(cells, episode.height, episode.width);
}

function targetOf(episode) {
  return episode.target && windowOf(episode.target, episode.height, episode.width);
}

/** Cells the action of step `t` acted on, or null where that was not recorded. */
function selectionAt(episode, t) {
  if (!episode.selections) return null;
  const area = episode.height * episode.width;
  return episode.selections.subarray(t * area, (t + 1) * area);
}

/** Cells of `grid` that are not as in `other`; both are windows of the same padded size. */
function unequal(grid, other) {
  const mask = new Uint8Array(grid.cells.length);
  for (let i = 0; i < mask.length; i++) {
    mask[i] = grid.cells[i] !== 0 && grid.cells[i] !== other.cells[i] ? 1 : 0;
  }
  return mask;
}

function countOf(mask) {
  let count = 0;
  for (let i = 0; i < mask.length; i++) count += mask[i];
  return count;
}

function dimensions(grid) {
  return `${grid.rows} × ${grid.cols}`;
}

/** Counts a step: cells selected, changed (lost ones included) and still wrong. */
function countCells(episode) {
  const { steps, height, width, cells, target, selections } = episode;
  const area = height * width;
  episode.selected = selections ? new Int32Array(steps) : null;
  episode.changed = new Int32Array(steps);
  episode.wrong = target ? new Int32Array(steps + 1) : null;
  for (let state = 0; state <= steps; state++) {
    const from = state * area;
    for (let i = 0; i < area; i++) {
      const cell = cells[from + i];
      if (state > 0 && cell !== cells[from - area + i]) episode.changed[state - 1]++;
      if (target && target[i] !== 0 && cell !== target[i]) episode.wrong[state]++;
      if (state < steps && cell !== 0 && selections && selections[from + i]) episode.selected[state]++;
    }
  }
}

/** Steps that changed something, ascending: cells, or else the score, or else any state field. */
function changesOf(episode) {
  const steps = [];
  for (let t = 0; t < episode.steps; t++) if (didChange(episode, t)) steps.push(t);
  return steps;
}

function didChange(episode, t) {
  if (episode.arc) return episode.changed[t] > 0;
  return episode.fields.some((field) => {
    if (field.group !== "state" || field.rows === 1) return false;
    const [before, after] = [field.at(t), field.at(t + 1)];
    return before.some((value, i) => value !== after[i]);
  });
}

// ---- Operations

const KIND_NAMES = {
  fill: "fill", flood: "flood fill", move: "move", rotate: "rotate", flip: "flip",
  clipboard: "clipboard", grid: "whole grid", submit: "submit",
};

/** What step `t` did: its name, kind, glyph, and the cell value it paints with (or null). */
function operationAt(episode, t) {
  const { operations: names, kinds } = episode.environment;
  const id = episode.operations ? episode.operations[t] : null;
  if (id === null) return { id, name: actionText(episode, t), kind: "unknown", value: null };
  const known = id >= 0 && id < names.length;
  const kind = (known && kinds[id]) || "unknown";
  return {
    id,
    name: known ? names[id] : `operation ${id}`,
    kind,
    value: kind === "fill" || kind === "flood" ? paintOf(names[id]) : null,
    invalid: names.length > 0 && !known,
  };
}

/** The cell value that an operation paints with: the digit at the end of its name. */
function paintOf(name) {
  const found = /(\d)\s*$/.exec(name);
  return found ? Number(found[1]) : null;
}

/** A step as it is counted on the page: from 1, with the steps that were not kept. */
function shownStep(episode, t) {
  return integer(t + episode.dropped + 1);
}

/** The action of an environment without named operations, in a few characters. */
function actionText(episode, t) {
  const fields = (episode.fields || []).filter((field) => field.group === "action");
  if (!fields.length) return "action";
  return fields.map((field) => `${field.name} ${valuesText(field.at(t), 4)}`).join(", ");
}

function valuesText(values, most) {
  const digits = Array.from(values).every(Number.isInteger) ? 0 : 2;
  const shown = Array.from(values.subarray(0, most), (v) => number(v, digits));
  if (values.length === 1) return shown[0];
  return `[${shown.join(", ")}${values.length > most ? ", …" : ""}]`;
}

/** Words beside the operation: what is unusual about the step. */
function badgesAt(episode, t) {
  const operation = operationAt(episode, t);
  const badges = [];
  if (operation.invalid) badges.push({ kind: "bad", text: "invalid" });
  if (operation.kind === "submit") badges.push({ kind: "note", text: "submit" });
  else if (episode.arc && episode.changed[t] === 0 && !harmless(operation)) {
    badges.push({ kind: "quiet", text: "no change" });
  }
  if (episode.flags[t] & 1) badges.push({ kind: "note", text: "terminated" });
  else if (episode.flags[t] & 2) badges.push({ kind: "note", text: "truncated" });
  for (const { mode, states } of episode.failures) {
    if (states.includes(t + 1)) badges.push({ kind: "bad", text: mode });
  }
  return badges;
}

/** A copy to the clipboard is not expected to change a cell. */
function harmless(operation) {
  return operation.name.trim().toLowerCase() === "copy";
}
