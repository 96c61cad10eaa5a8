// ---- Grids as SVG ------------------------------------------------------------------------
// One path a colour for the cells, one path an outline. Cells are never tinted: what is selected,
// changed or wrong is said by lines around it. All presentation is in attributes, so that the
// same elements can be saved as a file of their own.

const SMALLEST_DIGIT = 11; // pixels a cell must have for its value to be written in it
const MARGIN = 4; // room around the cells for outlines, in pixels

let onPaper = false; // a saved drawing has a white page, whatever this one has

const darkScheme = matchMedia("(prefers-color-scheme: dark)");

const printing = matchMedia("print");

function isPrinting() {
  return printing.matches;
}

function isDark() {
  if (onPaper || isPrinting()) return false;
  return state.mode === "dark" || (state.mode === "auto" && darkScheme.matches);
}

function paletteNow() {
  const found = view.archive.index.palettes.find((palette) => palette.name === state.palette);
  return isDark() ? { ...found, padding: found.paddingOnDark } : found;
}

/** One filled path a colour: runs of equal cells, row by row. */
function cellPaths(grid, unit, palette) {
  const paths = new Map();
  for (let y = 0; y < grid.rows; y++) {
    for (let x = 0; x < grid.cols; ) {
      const value = cellOf(grid, y, x);
      let run = 1;
      while (x + run < grid.cols && cellOf(grid, y, x + run) === value) run++;
      const path = `M${x * unit} ${y * unit}h${run * unit}v${unit}h${-run * unit}z`;
      paths.set(value, (paths.get(value) || "") + path);
      x += run;
    }
  }
  return [...paths].map(([value, d]) => s("path", { d, fill: colourOf(value, palette) }));
}

/** Value of a cell of the window; -1 is padding. */
function cellOf(grid, y, x) {
  return grid.cells[(grid.top + y) * grid.width + grid.left + x] - 1;
}

function colourOf(value, palette) {
  if (value < 0) return palette.padding;
  if (value < palette.cells.length) return palette.cells[value];
  // Environments with more than ten values: evenly spread hues, light and dark in turn.
  return `hsl(${(value * 137) % 360} 55% ${value % 2 ? 38 : 62}%)`;
}

/** Black or white, whichever is easier to read on a colour of the palette. */
function inkOf(value, palette) {
  return value >= 0 && value < palette.inks.length ? palette.inks[value] : "#000000";
}

function gridLines(grid, unit, palette) {
  if (unit < 5) return null;
  let d = "";
  for (let x = 0; x <= grid.cols; x++) d += `M${x * unit} 0v${grid.rows * unit}`;
  for (let y = 0; y <= grid.rows; y++) d += `M0 ${y * unit}h${grid.cols * unit}`;
  return s("path", { d, fill: "none", stroke: palette.grid, "stroke-width": unit < 9 ? 0.5 : 1, "stroke-opacity": 0.55 });
}

/** Lines between cells of the mask and all others, as one path in pixels of the window. */
function boundary(grid, mask, unit) {
  const inside = (y, x) => y >= 0 && x >= 0 && y < grid.rows && x < grid.cols
    && mask[(grid.top + y) * grid.width + grid.left + x] === 1;
  let d = "";
  for (let y = 0; y <= grid.rows; y++) {
    for (let x = 0; x < grid.cols; x++) {
      const from = x;
      while (x < grid.cols && inside(y - 1, x) !== inside(y, x)) x++;
      if (x > from) d += `M${from * unit} ${y * unit}h${(x - from) * unit}`;
    }
  }
  for (let x = 0; x <= grid.cols; x++) {
    for (let y = 0; y < grid.rows; y++) {
      const from = y;
      while (y < grid.rows && inside(y, x - 1) !== inside(y, x)) y++;
      if (y > from) d += `M${x * unit} ${from * unit}v${(y - from) * unit}`;
    }
  }
  return d;
}

/** Two strokes on top of each other, so that one of them is seen on any colour. */
const OUTLINES = {
  selected: [{ stroke: "#FFFFFF", width: 3.2 }, { stroke: "#000000", width: 3.2, dashed: true }],
  changed: [{ stroke: "#000000", width: 4.4 }, { stroke: "#FFFFFF", width: 2 }],
};

function outline(grid, mask, unit, kind) {
  const d = boundary(grid, mask, unit);
  if (!d) return null;
  const scale = unit < 8 ? 0.6 : 1;
  const dash = Math.max(3.2 * scale, unit * 0.2).toFixed(1);
  return s("g", { fill: "none", "data-outline": kind }, OUTLINES[kind].map((line) => s("path", {
    d,
    stroke: line.stroke,
    "stroke-width": (line.width * scale).toFixed(1),
    "stroke-dasharray": line.dashed ? `${dash} ${dash}` : null,
    "stroke-linecap": line.dashed ? null : "square",
  })));
}

/** A white corner edged in black on each cell that is still wrong. */
function corners(grid, mask, unit) {
  const side = (unit * 0.46).toFixed(1);
  let d = "";
  for (let y = 0; y < grid.rows; y++) {
    for (let x = 0; x < grid.cols; x++) {
      if (mask[(grid.top + y) * grid.width + grid.left + x]) d += `M${(x + 1) * unit} ${y * unit}v${side}l${-side} ${-side}z`;
    }
  }
  if (!d) return null;
  return s("path", { d, fill: "#FFFFFF", stroke: "#000000", "stroke-width": Math.min(1.4, unit * 0.11).toFixed(2), "stroke-linejoin": "round", "data-outline": "wrong" });
}

const MARKS = { selected: outline, changed: outline, wrong: corners };

/** Values written into the cells: one text for dark and one for light ink. */
function digitTexts(grid, unit, palette) {
  if (unit < SMALLEST_DIGIT) return [];
  const inks = new Map();
  for (let y = 0; y < grid.rows; y++) {
    for (let x = 0; x < grid.cols; x++) {
      const value = cellOf(grid, y, x);
      if (value < 0 || value > 9) continue;
      const ink = inkOf(value, palette);
      if (!inks.has(ink)) inks.set(ink, { xs: [], ys: [], text: "" });
      const group = inks.get(ink);
      group.xs.push(((x + 0.5) * unit).toFixed(1));
      group.ys.push(((y + 0.5) * unit + unit * 0.19).toFixed(1));
      group.text += value;
    }
  }
  return [...inks].map(([ink, { xs, ys, text }]) => s("text", {
    x: xs.join(" "), y: ys.join(" "), fill: ink, "font-size": (unit * 0.55).toFixed(1),
    "text-anchor": "middle", "font-family": "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace",
    "aria-hidden": "true",
  }, text));
}

/** The grid with its outlines as a `<g>`; its corner is at the origin. */
function gridGroup(grid, unit, marks = []) {
  const palette = paletteNow();
  return s("g", {},
    s("g", { "shape-rendering": "crispEdges" }, cellPaths(grid, unit, palette), gridLines(grid, unit, palette)),
    state.digits ? digitTexts(grid, unit, palette) : [],
    marks.map(({ kind, mask }) => mask && MARKS[kind](grid, mask, unit, kind)),
  );
}

/** A picture of one grid. */
function gridPicture(grid, unit, label, marks) {
  return picture(grid, unit, label, gridGroup(grid, unit, marks));
}

function picture(grid, unit, label, content) {
  const [width, height] = [grid.cols * unit + 2 * MARGIN, grid.rows * unit + 2 * MARGIN];
  const svg = s("svg", { class: "grid", width, height, viewBox: `${-MARGIN} ${-MARGIN} ${width} ${height}`, role: "img", "aria-label": label });
  svg.append(content);
  return svg;
}

/**
 * Where two grids differ: equal cells have the colour of padding, others are cut in two, with the colour of
 * A above the diagonal and that of B below it.
 */
function differenceGroup(first, second, unit) {
  const palette = paletteNow();
  const paths = new Map();
  const add = (value, d) => paths.set(value, (paths.get(value) || "") + d);
  const mask = new Uint8Array(first.cells.length);
  for (let y = 0; y < first.rows; y++) {
    for (let x = 0; x < first.cols; x++) {
      const [a, b] = [cellOf(first, y, x), cellOf(second, y, x)];
      if (a === b) {
        add(-1, `M${x * unit} ${y * unit}h${unit}v${unit}h${-unit}z`);
        continue;
      }
      mask[(first.top + y) * first.width + first.left + x] = 1;
      const [left, top] = [x * unit, y * unit];
      add(a, `M${left} ${top}h${unit}l${-unit} ${unit}z`);
      add(b, `M${left + unit} ${top}v${unit}h${-unit}z`);
    }
  }
  const cells = [...paths].map(([value, d]) => s("path", { d, fill: colourOf(value, palette) }));
  return s("g", {}, s("g", { "shape-rendering": "crispEdges" }, cells), gridLines(first, unit, palette), outline(first, mask, unit, "changed"));
}
