// ---- State and address -------------------------------------------------------------------
// One plain object says what is shown. All of it is in the address after `#`, so that a link
// restores the view. Opening another episode, comparing and sorting make a new entry in the
// history; moving within an episode replaces the present one.

const MODES = ["auto", "light", "dark"];

const state = {
  a: 0, // row of the episode that is shown
  t: 0, // its step
  b: -1, // row of the episode it is compared with
  compare: false,
  by: "step", // or "fraction"
  q: "", // the filter as typed
  sort: "", // a field, with a minus sign for descending
  palette: "",
  digits: false,
  mode: "auto",
  playing: false,
};

const view = {
  archive: null,
  fields: null,
  rows: [], // rows that pass the filter, in order
  problems: [],
  a: null, // decoded episodes
  b: null,
  failed: "", // why the episode could not be opened
};

/** The address that stands for the present state; only what differs from the start. */
function addressOf() {
  const { archive } = view;
  const ids = archive.columns.id;
  const parts = [["e", ids[state.a]], ["t", state.t || null]];
  if (state.compare && state.b >= 0) {
    parts.push(["c", ids[state.b]], ["by", state.by === "step" ? null : state.by]);
  }
  parts.push(["q", state.q || null], ["sort", state.sort || null]);
  parts.push(["p", state.palette === archive.index.palette ? null : state.palette]);
  parts.push(["d", state.digits === archive.index.digits ? null : Number(state.digits)]);
  parts.push(["m", state.mode === archive.index.mode ? null : state.mode]);
  const text = parts
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${key}=${encodeText(value)}`);
  return `#${text.join("&")}`;
}

/** Percent-encoding that keeps the colon readable and survives a lone surrogate. */
function encodeText(value) {
  return encodeURIComponent(String(value).replace(LONE, "\ufffd")).replaceAll("%3A", ":");
}

function decodeText(text) {
  try {
    return decodeURIComponent(text.replaceAll("+", "%20"));
  } catch (error) {
    if (error instanceof URIError) return text;
    throw error;
  }
}

/** The state that an address stands for; what it does not say is as at the start. */
function stateOf(hash) {
  const { archive } = view;
  const given = new Map(hash.replace(/^#/, "").split("&").map((part) => {
    const cut = part.indexOf("=");
    return [part.slice(0, cut), decodeText(part.slice(cut + 1))];
  }));
  const row = (key) => archive.rowOf.get(given.get(key)) ?? -1;
  const palettes = archive.index.palettes.map((palette) => palette.name);
  const b = row("c");
  return {
    a: row("e") >= 0 ? row("e") : archive.index.start,
    t: Math.max(Number.parseInt(given.get("t"), 10) || 0, 0),
    b,
    compare: b >= 0,
    by: given.get("by") === "fraction" ? "fraction" : "step",
    q: given.get("q") || "",
    sort: given.get("sort") || "",
    palette: palettes.includes(given.get("p")) ? given.get("p") : archive.index.palette,
    digits: given.has("d") ? given.get("d") === "1" : archive.index.digits,
    mode: MODES.includes(given.get("m")) ? given.get("m") : archive.index.mode,
  };
}

let addressTimer = 0;

/** Writes the address. Browsers refuse hundreds of changes in a row, hence the short wait. */
function writeAddress(push) {
  clearTimeout(addressTimer);
  if (push) {
    if (location.hash !== addressOf()) history.pushState(null, "", addressOf());
    return;
  }
  addressTimer = setTimeout(() => history.replaceState(null, "", addressOf()), 120);
}

/** An address that is due is written before another is pushed on top of it. */
function settleAddress() {
  clearTimeout(addressTimer);
  history.replaceState(null, "", addressOf());
}

const PUSHED = ["a", "b", "compare", "by", "sort"];

/** Changes the state, then everything that shows it. */
function update(patch, { push = true } = {}) {
  const pushed = push && PUSHED.some((key) => key in patch && patch[key] !== state[key]);
  if (pushed) settleAddress();
  Object.assign(state, patch);
  apply(patch);
  writeAddress(pushed);
}

/** Brings rows, episodes and pictures into line with the state. */
function apply(patch) {
  if ("q" in patch || "sort" in patch) findRows();
  if ("palette" in patch || "mode" in patch || "digits" in patch) showLook();
  openEpisodes(); // decodes while the table is drawn
  showTable();
}

function findRows() {
  const { tests, problems } = parseFilter(state.q, view.fields);
  view.problems = problems;
  view.rows = selectRows(view.archive, view.fields, tests, state.sort);
}

let opening = 0;

/** Decodes what is to be shown and shows it, unless something else was asked for meanwhile. */
async function openEpisodes() {
  const turn = ++opening;
  const b = state.compare && state.b >= 0 ? state.b : -1;
  if (view.a?.row === state.a && (view.b?.row ?? -1) === b) {
    showEpisode();
    return;
  }
  const rows = b >= 0 ? [state.a, b] : [state.a];
  const opened = await Promise.allSettled(rows.map((row) => view.archive.open(row)));
  if (turn !== opening) return;
  const failed = opened.find((result) => result.status === "rejected");
  view.failed = failed ? `This episode cannot be read: the file is damaged (${failed.reason}).` : "";
  view.a = opened[0].value || null;
  view.b = opened[1]?.value || null;
  showEpisode();
}

/** The last step that can be shown. */
function lastStep() {
  return Math.max((view.a?.steps ?? 1) - 1, 0);
}

/** The step of B that stands beside step `t` of A. */
function stepOfB(t) {
  const last = Math.max(view.b.steps - 1, 0);
  if (state.by === "step") return Math.min(t, last);
  return lastStep() === 0 ? last : Math.round((t * last) / lastStep());
}

function goTo(t) {
  update({ t: clamp(t, 0, lastStep()) }, { push: false });
}
