// ---- Start -------------------------------------------------------------------------------

/** Palette, digits, and light or dark. */
function showLook() {
  const root = document.documentElement;
  root.dataset.mode = state.mode;
  root.dataset.palette = state.palette;
  byId("palette").value = state.palette;
  byId("digits").setAttribute("aria-pressed", state.digits);
  const names = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" };
  byId("mode").textContent = names[state.mode];
}

function startControls() {
  const { palettes } = view.archive.index;
  byId("palette").replaceChildren(...palettes.map(({ name, label: text }) => h("option", { value: name }, text)));
  byId("palette").addEventListener("change", (event) => update({ palette: event.target.value }));
  byId("position").addEventListener("change", (event) => {
    goTo((Math.round(Number(event.target.value)) || 1) - view.a.dropped - 1);
    event.target.blur();
  });
  byId("filter").addEventListener("input", (event) => update({ q: event.target.value }));
  const clicks = {
    digits: () => update({ digits: !state.digits }),
    mode: () => update({ mode: MODES[(MODES.indexOf(state.mode) + 1) % MODES.length] }),
    "open-help": () => byId("help").showModal(),
    "open-about": () => byId("about").showModal(),
    "save-svg": saveSvg,
    "save-png": savePng,
    compare: toggleCompare,
    first: () => goTo(0),
    previous: () => goTo(state.t - 1),
    play: () => play(!state.playing),
    next: () => goTo(state.t + 1),
    final: () => goTo(lastStep()),
  };
  for (const [id, act] of Object.entries(clicks)) byId(id).addEventListener("click", act);
}

/** What the report was made from. Metadata is shown as text, indented. */
function startAbout() {
  const { index } = view.archive;
  const about = index.environments.map(({ operations: _, kinds: __, ...rest }) => rest);
  const rows = [["Episodes", integer(index.count)], ["Format", integer(index.format)]];
  byId("about-facts").replaceChildren(...rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
  const text = JSON.stringify({ environments: about, metadata: index.metadata }, null, 2);
  byId("about-text").textContent = text.split("\n").map((line) => visible(line, 2000)).join("\n");
}

/** The address says what to show: at the start, and when going back and forth. */
function readAddress() {
  Object.assign(state, stateOf(location.hash), { playing: false });
  apply({ q: state.q, sort: state.sort, palette: state.palette });
}

async function start() {
  if (!("DecompressionStream" in window)) {
    throw new Error("This browser cannot unpack the data. Chrome 103, Firefox 113, Safari 16.4 or newer can.");
  }
  view.archive = await Archive.read();
  view.fields = fieldsOf(view.archive);
  byId("title").textContent = visible(view.archive.index.title, 200);
  startControls();
  startHelp();
  startAbout();
  startTable();
  startOperations();
  startTimeline();
  watchLayout();
  document.addEventListener("keydown", onKey);
  document.querySelector(".skip").addEventListener("click", (event) => {
    event.preventDefault(); // the address after # is taken
    byId("stage").focus();
  });
  window.addEventListener("popstate", readAddress);
  window.addEventListener("beforeprint", showEpisode);
  window.addEventListener("afterprint", showEpisode);
  darkScheme.addEventListener("change", showEpisode);
  readAddress();
}

start().catch((error) => {
  byId("failed").hidden = false;
  byId("failed").textContent = `The report cannot be shown. ${error.message}`;
  throw error;
});
