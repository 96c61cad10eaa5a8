// ---- Episode table -----------------------------------------------------------------------
// A virtual list: only the rows in view exist. The grid itself has the focus, and
// `aria-activedescendant` names the current row.

class VirtualList {
  /** `draw(index)` makes the element of a row; rows are `rowHeight` pixels high. */
  constructor(scroller, rowHeight, draw) {
    Object.assign(this, { scroller, rowHeight, draw, count: 0 });
    this.body = h("div", { class: "virtual", role: "rowgroup" });
    scroller.append(this.body);
    // Positions are remembered: to ask for them after each change would lay the page out again.
    this.measure();
    scroller.addEventListener("scroll", () => {
      this.top = scroller.scrollTop;
      this.refresh();
    }, { passive: true });
    new ResizeObserver(() => {
      this.measure();
      this.refresh();
    }).observe(scroller);
  }

  measure() {
    this.top = this.scroller.scrollTop;
    this.height = this.scroller.clientHeight;
    this.room = this.body.offsetTop; // of a heading above the rows
  }

  /** Shows `count` rows, with the row `index` in view. */
  show(count, index) {
    if (count !== this.count) this.body.style.height = `${count * this.rowHeight}px`;
    this.count = count;
    this.reveal(index);
    this.refresh();
  }

  refresh() {
    const first = Math.max(Math.floor(this.top / this.rowHeight) - 6, 0);
    const last = Math.min(Math.ceil((this.top + this.height) / this.rowHeight) + 6, this.count);
    const rows = [];
    for (let index = first; index < last; index++) {
      const element = this.draw(index);
      element.style.transform = `translateY(${index * this.rowHeight}px)`;
      rows.push(element);
    }
    this.body.replaceChildren(...rows);
  }

  /** Scrolls as little as needed for the row to be in view. */
  reveal(index) {
    const [top, bottom] = [index * this.rowHeight, (index + 1) * this.rowHeight + this.room];
    if (index < 0) this.scrollTo(Math.min(this.top, Math.max(this.count * this.rowHeight - this.height, 0)));
    else if (this.top > top) this.scrollTo(Math.max(top - this.rowHeight, 0));
    else if (this.top + this.height < bottom) this.scrollTo(bottom - this.height + this.rowHeight);
  }

  scrollTo(top) {
    if (top === this.top) return;
    this.scroller.scrollTop = top;
    this.top = this.scroller.scrollTop;
  }
}

const ROW_HEIGHT = 30;
const OUTCOME_GLYPHS = { solved: "✓", failed: "✕", running: "…", terminated: "■", truncated: "◧" };
let table = null;

/** Columns: the field to sort by, heading, class, and the text of a row. */
function tableColumns() {
  const { archive } = view;
  const { columns, index } = archive;
  const score = index.scored && ["score", index.scoreLabel, "num", (r) => number(archive.numberAt("score", r))];
  const task = index.tasks.some((text) => text !== "") && ["task", "Task", "task", (r) => visible(archive.task(r), 80)];
  return [
    ["id", "Episode", "id", (row) => visible(columns.id[row], 60)],
    task,
    ["outcome", "Outcome", "outcome", null],
    ["steps", "Steps", "num short", (row) => integer(columns.steps[row])],
    ["return", "Return", "num", (row) => number(columns.return[row])],
    score,
    [index.scored ? "best" : "", "Curve", "curve", null],
  ].filter(Boolean);
}

function startTable() {
  const columns = tableColumns();
  const grid = byId("table");
  const head = h("div", { class: "row head", role: "row" }, columns.map(headCell));
  grid.append(head);
  grid.classList.toggle("without-task", !columns.some(([key]) => key === "task"));
  grid.classList.toggle("without-score", !view.archive.index.scored);
  table = new VirtualList(grid, ROW_HEIGHT, (index) => tableRow(index, columns));
  grid.addEventListener("click", (event) => {
    const row = event.target.closest(".row[data-row]");
    if (!row) return;
    const asB = event.shiftKey || event.target.closest(".pick-b");
    choose(Number(row.dataset.row), Boolean(asB));
  });
}

function headCell([key, label, kind]) {
  if (!key) return h("div", { class: `cell ${kind}`, role: "columnheader" }, h("span", {}, label));
  const sort = () => {
    const next = state.sort === `-${key}` ? key : state.sort === key ? "" : `-${key}`;
    update({ sort: next });
  };
  const hint = kind === "curve" ? "Sort by the best value" : `Sort by ${label.toLowerCase()}`;
  const button = h("button", { type: "button", tabindex: "-1", title: hint, onclick: sort }, label, h("i", { "aria-hidden": "true" }));
  return h("div", { class: `cell ${kind}`, role: "columnheader", "data-key": key }, button);
}

function tableRow(index, columns) {
  const row = view.rows[index];
  const isA = row === state.a;
  const isB = state.compare && row === state.b;
  const cells = columns.map(([, , kind, text]) => {
    if (kind === "outcome") return outcomeCell(row);
    if (kind === "curve") return h("div", { class: "cell curve", role: "gridcell" }, sparkline(row), pickB(row));
    const value = text(row);
    const tag = kind === "id" && state.compare && (isA || isB) ? h("b", { class: `tag ${isA ? "a" : "b"}` }, isA ? "A" : "B") : null;
    return h("div", { class: `cell ${kind}`, role: "gridcell", title: kind === "num" ? null : value }, tag, h("span", {}, value));
  });
  return h("div", {
    class: `row${isA ? " is-a" : ""}${isB ? " is-b" : ""}`,
    role: "row",
    id: `row-${row}`,
    "data-row": row,
    "aria-rowindex": index + 2,
    "aria-selected": isA || isB ? "true" : "false",
  }, cells);
}

function pickB(row) {
  if (!state.compare || row === state.a) return null;
  return h("button", { type: "button", class: "pick-b", tabindex: "-1", title: "Compare A with this episode" }, "B");
}

function outcomeCell(row) {
  const outcome = view.archive.outcome(row);
  const glyph = OUTCOME_GLYPHS[outcome] || "•";
  const failures = view.archive.failures(row);
  const title = failures === "none" ? outcome : `${outcome}: ${failures}`;
  return h("div", { class: "cell outcome", role: "gridcell", title }, h("span", { class: `outcome ${outcome}` }, h("i", { "aria-hidden": "true" }, glyph), outcome));
}

/** The small curve of an episode; its end is marked by a dot. */
function sparkline(row) {
  const points = view.archive.spark(row);
  const [width, height] = [54, 18];
  let path = "";
  let pen = "M";
  let end = null;
  points.forEach((value, i) => {
    if (value === 255) {
      pen = "M";
      return;
    }
    end = [(2 + (i * (width - 5)) / (SPARK_POINTS - 1)).toFixed(1), (height - 2.5 - (value / 254) * (height - 5)).toFixed(1)];
    path += `${pen}${end[0]} ${end[1]}`;
    pen = "L";
  });
  const dot = end && s("circle", { cx: end[0], cy: end[1], r: 1.8 });
  return s("svg", { class: "spark", width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, s("path", { d: path }), dot);
}

let tableShown = "";

/** Brings the table into line with the state; does nothing when nothing in it changed. */
function showTable() {
  const now = [state.q, state.sort, state.a, state.b, state.compare].join("\u0000");
  if (now === tableShown) return;
  tableShown = now;
  for (const cell of byId("table").querySelectorAll("[role=columnheader]")) {
    const direction = { [cell.dataset.key]: "ascending", [`-${cell.dataset.key}`]: "descending" }[state.sort];
    if (direction) cell.setAttribute("aria-sort", direction);
    else cell.removeAttribute("aria-sort");
  }
  const grid = byId("table");
  grid.setAttribute("aria-rowcount", view.rows.length + 1);
  table.show(view.rows.length, view.rows.indexOf(state.a));
  if (view.rows.includes(state.a)) grid.setAttribute("aria-activedescendant", `row-${state.a}`);
  else grid.removeAttribute("aria-activedescendant");
  showFilter();
}

function showFilter() {
  const { count } = view.archive;
  const shown = view.rows.length;
  byId("count").textContent = shown === count ? plural(count, "episode") : `${integer(shown)} of ${plural(count, "episode")}`;
  const problem = byId("problem");
  problem.textContent = view.problems.join(" ");
  problem.hidden = view.problems.length === 0;
  byId("filter").setAttribute("aria-invalid", view.problems.length > 0);
  byId("nothing").hidden = shown > 0;
  if (byId("filter").value !== state.q) byId("filter").value = state.q;
}

/** Opens a row as A, or as B of a comparison. */
function choose(row, asB) {
  if (asB && row !== state.a) update({ b: row, compare: true });
  else if (row !== state.a) update({ a: row, t: 0, playing: false });
}

/** Opens the episode that stands `by` rows further down. */
function chooseBy(by) {
  if (!view.rows.length) return;
  const at = view.rows.indexOf(state.a);
  const next = at < 0 ? 0 : clamp(at + by, 0, view.rows.length - 1);
  choose(view.rows[next], false);
}
