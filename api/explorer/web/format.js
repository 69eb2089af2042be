// Numbers, times and durations as people read them.

const prefixes = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
const hasPrefix = /^(?:[kKMGTP]i?[A-Zbm]|%|°|m[A-Z])/;

/**
 * A number with about three digits and a prefix of its unit: 1.25 GF/s.
 * @param {number|null|undefined} v
 * @param {string} [unit]
 */
export function quantity(v, unit = "") {
  if (v == null || Number.isNaN(v)) return "–";
  const space = unit && unit !== "%" ? "\u202f" : "";
  const size = Math.abs(v);
  if (size >= 1000 && !hasPrefix.test(unit)) {
    for (const [scale, prefix] of prefixes) {
      if (size >= /** @type {number} */ (scale)) return `${digits(v / /** @type {number} */ (scale))}${space || "\u202f"}${prefix}${unit}`;
    }
  }
  return digits(v) + space + unit;
}

/** @param {number} v */
function digits(v) {
  const size = Math.abs(v);
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return minus(v.toExponential(2));
  return minus(String(Number(v.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3))));
}

/** @param {string} text */
function minus(text) {
  return text.replace(/^-/, "−");
}

/** Bytes with a decimal prefix. @param {number} v */
export function bytes(v) {
  return quantity(v, "B");
}

/** A whole number with its thousands apart. @param {number} v */
export function count(v) {
  return Math.round(v).toLocaleString("en").replaceAll(",", "\u202f");
}

/** A duration in its two largest units. @param {number} seconds */
export function duration(seconds) {
  const parts = [];
  let rest = Math.max(0, Math.round(seconds));
  for (const [size, unit] of /** @type {[number, string][]} */ ([[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]])) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n) parts.push(`${n}\u202f${unit}`);
    if (parts.length && (parts.length === 2 || !n)) break;
  }
  return parts.join(" ") || "0\u202fs";
}

const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/**
 * A time in the browser's zone, as precise as the length of the range that it lies in needs.
 * @param {number} seconds Unix
 * @param {number} [span] of the range in seconds
 */
export function time(seconds, span = 0) {
  const d = new Date(seconds * 1000);
  const clock = `${two(d.getHours())}:${two(d.getMinutes())}`;
  if (span && span <= 900) return `${clock}:${two(d.getSeconds())}`;
  if (span && span <= 86400) return clock;
  const day = `${d.getDate()}\u00a0${months[d.getMonth()]}`;
  return span > 604800 ? day : `${day} ${clock}`;
}

/** A time with its date and seconds. @param {number} seconds Unix */
export function fullTime(seconds) {
  const d = new Date(seconds * 1000);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

/** How long ago a time was. @param {number} seconds Unix */
export function ago(seconds) {
  return `${duration(Date.now() / 1000 - seconds)} ago`;
}

/** Compares names as people sort them: node2 before node10. @param {string} a @param {string} b */
export const byName = new Intl.Collator("en", { numeric: true }).compare;
