// ---- Filter and sort ---------------------------------------------------------------------
// A filter is words separated by spaces, all of which must hold:
//   solved            the word occurs in id, task, outcome, kept-by or failures
//   task:007bbfb7     the field contains the text (quote a text with spaces: task:"a b")
//   return>0.5  steps<=20  score=1  steps:5..10
//   -outcome:solved   a minus sign in front turns a token round

const TOKEN = /-?(?:[^\s":<>=]+(?:>=|<=|[:<>=]))?(?:"[^"]*"?|[^\s"]+)/g;
const PARTS = /^(-?)(?:([^":<>=]+)(>=|<=|[:<>=]))?("?)([\s\S]*?)"?$/;

/** What can be filtered and sorted: how to read each field of a row. */
function fieldsOf(archive) {
  const { columns } = archive;
  const column = (name) => ({ type: "number", get: (row) => columns[name][row] });
  const fields = {
    id: { type: "text", get: (row) => columns.id[row] },
    task: { type: "text", get: (row) => archive.task(row) },
    outcome: { type: "text", get: (row) => archive.outcome(row) },
    kept: { type: "text", get: (row) => archive.kept(row) },
    failures: { type: "text", get: (row) => archive.failures(row) },
    steps: column("steps"),
    return: column("return"),
    score: column("score"),
    best: column("best"),
    best_at: column("best_at"),
    no_ops: column("no_ops"),
    revisits: column("revisits"),
    distinct: column("distinct"),
    submits: column("submits"),
    size_match: column("size_match"),
    pair: column("pair"),
    lane: column("lane"),
    number: column("number"),
    dropped: column("dropped"),
  };
  for (const name of archive.index.metrics) {
    const key = name.toLowerCase().replace(/[\s":<>=]+/g, "_");
    if (!Object.hasOwn(fields, key)) fields[key] = column(`metric.${name}`);
  }
  return fields;
}

/** Parses a filter. Returns tests of a row, and words about each token that is not understood. */
function parseFilter(text, fields) {
  const tests = [];
  const problems = [];
  for (const token of text.match(TOKEN) || []) {
    const [, minus, name, operator, , value] = PARTS.exec(token);
    const test = name === undefined
      ? wordTest(value, fields)
      : fieldTest(name.toLowerCase(), operator, value, fields, problems);
    if (test) tests.push(minus ? (row) => !test(row) : test);
  }
  return { tests, problems };
}

function wordTest(value, fields) {
  const word = value.toLowerCase();
  if (!word) return null;
  const texts = Object.values(fields).filter((field) => field.type === "text");
  return (row) => texts.some((field) => field.get(row).toLowerCase().includes(word));
}

function fieldTest(name, operator, value, fields, problems) {
  const field = Object.hasOwn(fields, name) ? fields[name] : null;
  if (!field) {
    problems.push(`There is no field “${visible(name, 40)}”. Known: ${Object.keys(fields).join(", ")}.`);
    return null;
  }
  if (value === "") return null; // still being typed
  if (field.type === "text") return textTest(name, field, operator, value, problems);
  const span = /^(.+)\.\.(.+)$/.exec(value);
  const [low, high] = span ? [numeral(span[1]), numeral(span[2])] : [numeral(value), numeral(value)];
  if (low === null || high === null) {
    problems.push(`“${name}” is a number; found “${visible(value, 40)}”. Example: ${name}>0.`);
    return null;
  }
  return numberTest(field, operator, low, high);
}

function textTest(name, field, operator, value, problems) {
  const word = value.toLowerCase();
  if (operator === ":") return (row) => field.get(row).toLowerCase().includes(word);
  if (operator === "=") return (row) => field.get(row).toLowerCase() === word;
  problems.push(`“${name}” is a text: use ${name}:… (contains) or ${name}=… (is).`);
  return null;
}

function numberTest(field, operator, low, high) {
  const compare = {
    ":": (v) => v >= low && v <= high,
    "=": (v) => v >= low && v <= high,
    ">": (v) => v > high,
    "<": (v) => v < low,
    ">=": (v) => v >= low,
    "<=": (v) => v <= high,
  }[operator];
  // Tables show three digits: a value equals what is shown for it.
  const near = (v) => Math.abs(v - low) < 0.0005;
  const exact = low === high && (operator === "=" || operator === ":");
  return exact && !Number.isInteger(low)
    ? (row) => near(field.get(row))
    : (row) => compare(field.get(row));
}

function numeral(text) {
  const value = Number(text.replace("−", "-"));
  return text.trim() === "" || Number.isNaN(value) ? null : value;
}

/** Rows that pass all tests, in the order asked for; `sort` is a field with an optional minus. */
function selectRows(archive, fields, tests, sort) {
  const rows = [];
  for (let row = 0; row < archive.count; row++) {
    if (tests.every((test) => test(row))) rows.push(row);
  }
  const descending = sort.startsWith("-");
  const name = descending ? sort.slice(1) : sort;
  if (!Object.hasOwn(fields, name)) return rows;
  const { get } = fields[name];
  const sign = descending ? -1 : 1;
  return rows.sort((a, b) => sign * order(get(a), get(b), sign) || a - b);
}

/** Ascending order in which what is missing comes last whichever the direction. */
function order(a, b, sign) {
  if (typeof a === "string") return a < b ? -1 : a > b ? 1 : 0;
  const [noA, noB] = [Number.isNaN(a), Number.isNaN(b)];
  if (noA || noB) return noA && noB ? 0 : noA ? sign : -sign;
  return a - b;
}
