// Time ranges: relative ("now-1h" to "now") or absolute (Unix seconds).

/** @typedef {{from: number, to: number}} Range in Unix seconds */

const units = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };

/** The ranges that the page offers. */
export const presets = [
  { value: "now-15m", text: "Last 15 minutes" },
  { value: "now-1h", text: "Last hour" },
  { value: "now-6h", text: "Last 6 hours" },
  { value: "now-24h", text: "Last 24 hours" },
  { value: "now-7d", text: "Last 7 days" },
];

/** A range up to now in words. @param {string} from */
export function inWords(from) {
  const parts = /^now-(\d+)([smhdw])$/.exec(from);
  const names = { s: "seconds", m: "minutes", h: "hours", d: "days", w: "weeks" };
  return parts ? `Last ${parts[1]} ${names[/** @type {keyof typeof names} */ (parts[2])]}` : from;
}

export const defaultFrom = "now-1h";

/**
 * Reads one end of a range.
 * @param {string|undefined} text
 * @param {number} now
 * @param {number} otherwise if the text is missing or cannot be understood
 */
function moment(text, now, otherwise) {
  const relative = /^now(?:-(\d+)([smhdw]))?$/.exec(text ?? "");
  if (relative) return now - (relative[1] ? Number(relative[1]) * units[/** @type {keyof typeof units} */ (relative[2])] : 0);
  const seconds = Number(text);
  return text && Number.isFinite(seconds) ? seconds : otherwise;
}

/**
 * The range of an address.
 * @param {{from?: string, to?: string}} place
 * @param {number} [now] in Unix seconds
 * @returns {Range}
 */
export function rangeOf(place, now = Date.now() / 1000) {
  const to = moment(place.to, now, now);
  const from = moment(place.from, now, to - 3600);
  return from < to ? { from, to } : { from: to - 3600, to };
}

/** Whether a range moves with the clock. @param {{from?: string, to?: string}} place */
export function isLive(place) {
  return !/^\d/.test(place.from ?? "") && !/^\d/.test(place.to ?? "");
}

/** Parameters for an absolute range. @param {number} from @param {number} to */
export function absolute(from, to) {
  return { from: String(Math.floor(from)), to: String(Math.ceil(to)) };
}

/** A range twice as long around the same middle, at most up to now. @param {Range} range */
export function widened({ from, to }) {
  const half = (to - from) / 2, now = Date.now() / 1000;
  const end = Math.min(to + half, Math.max(now, to));
  return absolute(end - 4 * half, end);
}

/**
 * The grid of points for a plot: about as many as asked for, and each at a multiple of the step, so
 * that the points stay when the range moves.
 * @param {Range} range
 * @param {number} points
 * @param {number} frequency of the metric in seconds
 */
export function gridOf({ from, to }, points, frequency) {
  const step = Math.max(1, Math.ceil((to - from) / points / frequency)) * frequency;
  const end = Math.floor(to / step) * step;
  return { start: Math.min(end, Math.ceil(from / step) * step), end, step };
}
