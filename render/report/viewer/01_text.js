// ---- Text, numbers and elements ----------------------------------------------------------
// Every text of a trace is untrusted. It reaches the page through `textContent` and
// `setAttribute` only, after `visible` has made what hides in it visible.

const SVG_NS = "http://www.w3.org/2000/svg";

// The rules are those of `render/text.py`.
// Marks that turn the reading order, and characters that are there but show nothing.
const HIDDEN =
  /[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e0fff}]/gu;
const ILLEGAL = /[\u0000-\u001f\u007f-\u009f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]/gu;
const LONE = /[\ud800-\udfff]/gu;
const COMBINING = /(\p{M}{2})\p{M}+/gu;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
const SHORT = new Map([["\t", "\\t"], ["\n", "\\n"], ["\r", "\\r"]]);

/** A character as its code: `\n`, `\x1b`, `\u202e`, `\U000e0001`. */
function codeOf(character) {
  const code = character.codePointAt(0);
  const [mark, digits] = code < 0x100 ? ["\\x", 2] : code < 0x10000 ? ["\\u", 4] : ["\\U", 8];
  return SHORT.get(character) || mark + code.toString(16).padStart(digits, "0");
}

/** Text of at most `limit` characters: the middle of a longer one becomes an ellipsis. */
function cut(text, limit) {
  if (text.length <= limit) return text;
  const characters = Array.from(text);
  if (characters.length <= limit) return text;
  const head = Math.floor(limit / 2);
  return `${characters.slice(0, head).join("")}…${characters.slice(characters.length - (limit - 1 - head)).join("")}`;
}

/** Text on one line in which nothing is hidden and nothing acts. To be done once. */
function visible(text, limit = 160) {
  const short = cut(String(text), limit);
  if (/^[ -~]*$/.test(short)) return short;
  const out = short.replace(ILLEGAL, codeOf).replace(HIDDEN, codeOf).replace(COMBINING, "$1");
  return RIGHT_TO_LEFT.test(out) ? `\u2068${out}\u2069` : out;
}

/** A number as text: a true minus sign, and words for what is not finite. */
function number(value, digits = 3, signed = false) {
  if (value === null || value === undefined) return "–";
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value < 0 ? "−∞" : signed ? "+∞" : "∞";
  let text;
  if (Number.isInteger(value) && digits === 0) text = value.toLocaleString("en");
  else text = Math.abs(value) >= 1e6 ? value.toPrecision(digits + 1) : value.toFixed(digits);
  if (Number(text) === 0) return text.replace("-", "");
  return (signed && value > 0 ? `+${text}` : text).replace("-", "−");
}

function integer(value) {
  return number(value, 0);
}

function plural(count, noun) {
  return `${integer(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** An HTML element. A `null` or `false` attribute is left out; children are nodes or text. */
function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** An SVG element. */
function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG_NS, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined && child !== false && child !== "") element.append(child);
  }
  return element;
}

function byId(id) {
  return document.getElementById(id);
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
