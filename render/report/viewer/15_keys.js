// ---- Keys and help -----------------------------------------------------------------------
// One table: what a key does, and what `?` says that it does.

const KEYS = [
  ["←", "ArrowLeft", "previous step", () => goTo(state.t - 1)],
  ["→", "ArrowRight", "next step", () => goTo(state.t + 1)],
  ["Shift ←", "Shift+ArrowLeft", "10 steps back", () => goTo(state.t - 10)],
  ["Shift →", "Shift+ArrowRight", "10 steps on", () => goTo(state.t + 10)],
  ["↑", "ArrowUp", "previous episode of the table", () => chooseBy(-1)],
  ["↓", "ArrowDown", "next episode of the table", () => chooseBy(1)],
  ["Shift ↑", "Shift+ArrowUp", "10 episodes up", () => chooseBy(-10)],
  ["Shift ↓", "Shift+ArrowDown", "10 episodes down", () => chooseBy(10)],
  ["Home", "Home", "first step", () => goTo(0)],
  ["End", "End", "last step", () => goTo(lastStep())],
  ["[", "[", "previous step that changed something", () => hopChange(-1)],
  ["]", "]", "next step that changes something", () => hopChange(1)],
  [",", ",", "previous key moment", () => hopMoment(-1)],
  [".", ".", "next key moment", () => hopMoment(1)],
  ["f", "f", "next step that shows a failure", () => hopFailure(1)],
  ["F", "F", "previous step that shows a failure", () => hopFailure(-1)],
  ["Space", " ", "play or pause", () => play(!state.playing)],
  ["c", "c", "compare with another episode, or stop comparing", toggleCompare],
  ["x", "x", "exchange A and B", swap],
  ["/", "/", "write a filter", () => byId("filter").select()],
  ["d", "d", "digits in the cells", () => update({ digits: !state.digits })],
  ["p", "p", "next palette", () => nextPalette()],
  ["?", "?", "this help", () => byId("help").showModal()],
];

const ACTIONS = new Map(KEYS.map(([, key, , action]) => [key, action]));
const LEAVES_SPACE = "button, a, summary, select, [role=columnheader]";

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (document.querySelector("dialog[open]")) return;
  const { target } = event;
  if (target.matches("input, select, textarea")) {
    if (event.key === "Escape" || (event.key === "Enter" && target.id === "filter")) target.blur();
    return;
  }
  if (event.key === " " && target.matches(LEAVES_SPACE)) return;
  const arrow = event.key.startsWith("Arrow");
  const action = ACTIONS.get(arrow && event.shiftKey ? `Shift+${event.key}` : event.key);
  if (!action || !view.archive) return;
  event.preventDefault();
  action();
}

function nextPalette() {
  const names = view.archive.index.palettes.map((palette) => palette.name);
  update({ palette: names[(names.indexOf(state.palette) + 1) % names.length] });
  say(`Palette: ${paletteNow().label}.`);
}

function startHelp() {
  byId("keys").replaceChildren(...KEYS.map(([shown, , what]) => h("div", {},
    h("dt", {}, shown.split(" ").map((key) => h("kbd", {}, key))), h("dd", {}, what))));
  byId("filter-fields").textContent = Object.keys(view.fields).join(", ");
  for (const dialog of document.querySelectorAll("dialog")) {
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest(".close")) dialog.close();
    });
  }
}
