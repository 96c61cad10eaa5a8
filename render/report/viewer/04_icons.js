// ---- Signs of operations -----------------------------------------------------------------
// The colour an operation paints with, or what it does to the cells: the shapes of
// `render/icons.py`, in a box of 24 by 24. A direction follows from the words of the name.

const ICON_LINES = {
  move: () => "M12 21V4M5 11L12 4L19 11",
  rotate: () => "M19.5 8A8.5 8.5 0 1 0 20.5 13M20 2V8.5H13.5",
  clipboard: (name) => {
    if (name.includes("cut")) {
      return "M6 2L16 16M18 2L8 16M5 19a3 3 0 1 0 6 0a3 3 0 1 0-6 0M13 19a3 3 0 1 0 6 0a3 3 0 1 0-6 0";
    }
    if (name.includes("paste")) return "M5 4H19V22H5ZM9 2H15V6H9ZM12 9V17M8.5 14L12 17.5L15.5 14";
    return "M8 8H21V22H8ZM16 8V2H3V16H8";
  },
  grid: (name) => {
    if (name.includes("resize")) return "M3 3H21V21H3ZM3 12H12V3M15 15L20 20M20 15.5V20H15.5";
    if (name.includes("input")) return "M11 3H21V21H11M2 12H15M10.5 7.5L15 12L10.5 16.5";
    return "M3 3H21V21H3ZM8 8L16 16M16 8L8 16";
  },
};
const DROP = "M12 0C15 4.5 21.5 9 21.5 14.5A9.5 9.5 0 0 1 2.5 14.5C2.5 9 9 4.5 12 0Z";
const TURNS = { up: 0, right: 90, down: 180, left: 270 };

/** The sign of an operation as a small picture. */
function swatch(operation) {
  return s("svg", { class: "swatch", viewBox: "-1 -1 26 26", width: 18, height: 18, "aria-hidden": "true" }, iconOf(operation));
}

function iconOf({ kind, name, value }) {
  const words_ = name.toLowerCase();
  if (value !== null) return painted(kind, value);
  if (kind === "flip") return flipIcon(/v(ertical)?$/.test(words_));
  if (kind === "submit") {
    return [s("path", { d: "M5 2V23", class: "icon-line" }), s("path", { d: "M5 3H21L17 8.5L21 14H5Z", class: "icon-solid" })];
  }
  if (!Object.hasOwn(ICON_LINES, kind)) return s("circle", { cx: 12, cy: 12, r: 5, class: "icon-solid" });
  return s("path", { d: ICON_LINES[kind](words_), class: "icon-line", transform: turnOf(kind, words_) });
}

function turnOf(kind, name) {
  if (kind === "rotate" && /ccw|counter/.test(name)) return "translate(24 0) scale(-1 1)";
  const turn = kind === "move" && Object.keys(TURNS).find((word) => name.split(/\s+/).includes(word));
  return turn ? `rotate(${TURNS[turn]} 12 12)` : null;
}

function painted(kind, value) {
  const palette = paletteNow();
  const look = { fill: colourOf(value, palette), stroke: palette.grid };
  const shape = kind === "flood" ? s("path", { d: DROP, ...look }) : s("rect", { x: 1, y: 1, width: 22, height: 22, rx: 3, ...look });
  const [y, size] = kind === "flood" ? [19, 13] : [17.5, 15];
  return [shape, s("text", { x: 12, y, "font-size": size, "font-weight": 700, "text-anchor": "middle", fill: inkOf(value, palette) }, String(value))];
}

function flipIcon(vertical) {
  const transform = vertical ? "rotate(90 12 12)" : null;
  return s("g", { transform },
    s("path", { d: "M9 5L2 19H9Z", class: "icon-solid" }), s("path", { d: "M15 5L22 19H15Z", class: "icon-line" }),
    s("path", { d: "M12 1V23", class: "icon-line", "stroke-dasharray": "3 2.5" }));
}
