// Results of range queries, aligned to one grid of times.
import { askPrometheus } from "./api.js";

/**
 * @typedef {object} Query
 * @property {string} expr
 * @property {number} start @property {number} end @property {number} step in seconds
 */

/**
 * @typedef {object} Series
 * @property {Record<string, string>} labels
 * @property {(number|null)[]} values one for each time
 */

/**
 * @typedef {object} Matrix
 * @property {Query} query
 * @property {number[]} times Unix seconds
 * @property {Series[]} series
 * @property {string[]} warnings
 */

/**
 * Asks for the curves of an expression.
 * @param {Query} query
 * @param {AbortSignal} [signal]
 * @returns {Promise<Matrix>}
 */
export async function curves(query, signal) {
  const { expr, start, end, step } = query;
  const data = await askPrometheus("query_range", [
    ["query", expr], ["start", String(start)], ["end", String(end)], ["step", String(step)],
  ], signal);
  const length = Math.max(0, Math.floor((end - start) / step) + 1);
  const times = Array.from({ length }, (_, i) => start + i * step);
  const series = data.result.map((/** @type {any} */ r) => {
    const values = new Array(length).fill(null);
    for (const [t, v] of r.values) {
      const number = Number(v === "+Inf" ? Infinity : v === "-Inf" ? -Infinity : v);
      if (Number.isFinite(number)) values[Math.round((t - start) / step)] = number;
    }
    return { labels: r.metric, values };
  });
  return { query, times, series, warnings: [] };
}

/**
 * @typedef {object} Statistics
 * @property {number} count of values @property {number} min @property {number} max @property {number} avg
 * @property {number|null} last value of the range, if the newest points have one
 */

/** @param {(number|null)[]} values @returns {Statistics|null} null without values */
export function statistics(values) {
  let count = 0, min = Infinity, max = -Infinity, sum = 0, last = null, lastAt = -1;
  for (let i = 0; i < values.length; i++) {
    const v = values[i];
    if (v === null) continue;
    count++;
    sum += v;
    if (v < min) min = v;
    if (v > max) max = v;
    last = v;
    lastAt = i;
  }
  return count ? { count, min, max, avg: sum / count, last: lastAt >= values.length - 3 ? last : null } : null;
}

/**
 * How unevenly hosts are loaded: by how much the largest average exceeds the mean, relative to it.
 * 0 means evenly. It is null where that says nothing: below two hosts, or without a positive mean.
 * @param {Series[]} series
 */
export function imbalance(series) {
  const averages = series.map((s) => statistics(s.values)?.avg).filter((a) => a !== undefined);
  if (averages.length < 2) return null;
  const mean = averages.reduce((a, b) => a + b, 0) / averages.length;
  return mean > 0 && averages.every((a) => a >= 0) ? Math.max(...averages) / mean - 1 : null;
}
