// What there is: clusters, metrics with their units, and the devices of a host.
import { askPrometheus } from "./api.js";
import { byName } from "./format.js";

/**
 * @typedef {object} Metric
 * @property {string} name
 * @property {string} unit
 * @property {string} help
 * @property {number} frequency in seconds
 * @property {string} whole name of the aggregate over a node; empty if there is none
 */

const whole = /^node:(.*):(?:sum|avg)$/;

/**
 * The configured metrics, by name.
 * @param {AbortSignal} [signal]
 * @returns {Promise<Map<string, Metric>>}
 */
export async function metrics(signal) {
  /** @type {Record<string, {unit: string, help: string, frequency: number}[]>} */
  const all = await askPrometheus("metadata", [], signal);
  const found = new Map();
  for (const [name, [about]] of Object.entries(all)) {
    if (!whole.test(name)) found.set(name, { name, unit: about.unit === "1" ? "" : about.unit, help: about.help, frequency: about.frequency || 60, whole: "" });
  }
  for (const name of Object.keys(all)) {
    const metric = found.get(whole.exec(name)?.[1]);
    if (metric) metric.whole = name;
  }
  return found;
}

/**
 * The values of a label among the series that match.
 * @param {string} label
 * @param {string[]} matches selectors; none: all series
 * @param {{from: number, to: number}|null} range null: all that is stored
 * @param {AbortSignal} [signal]
 * @returns {Promise<string[]>}
 */
export async function values(label, matches, range, signal) {
  /** @type {[string, string][]} */
  const parameters = matches.map((m) => ["match[]", m]);
  if (range) parameters.push(["start", String(range.from)], ["end", String(range.to)]);
  const found = await askPrometheus(`label/${label}/values`, parameters, signal);
  return found.sort(byName);
}

/** The clusters. @param {AbortSignal} [signal] */
export function clusters(signal) {
  return values("cluster", [], null, signal);
}

/**
 * The names of the metrics that a cluster or host has.
 * @param {Record<string, string>} labels
 * @param {{from: number, to: number}|null} range
 * @param {AbortSignal} [signal]
 */
export async function metricNames(labels, range, signal) {
  const matchers = Object.entries(labels).map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(",");
  return (await values("__name__", [`{${matchers}}`], range, signal)).filter((name) => !whole.test(name));
}

/**
 * @typedef {object} Device a device type of a metric on a host, with the ids
 * @property {string} type
 * @property {string} stype empty: the devices themselves
 * @property {number} count of series
 */

/**
 * The kinds of devices of each metric of a host.
 * @param {string} cluster @param {string} host
 * @param {{from: number, to: number}} range
 * @param {AbortSignal} [signal]
 * @returns {Promise<Map<string, Device[]>>}
 */
export async function devices(cluster, host, range, signal) {
  /** @type {Record<string, string>[]} */
  const series = await askPrometheus("series", [
    ["match[]", `{cluster=${JSON.stringify(cluster)}, hostname=${JSON.stringify(host)}}`],
    ["start", String(range.from)], ["end", String(range.to)],
  ], signal);
  /** @type {Map<string, Device[]>} */
  const found = new Map();
  for (const labels of series) {
    if (whole.test(labels.__name__)) continue;
    const of = found.get(labels.__name__) ?? [];
    found.set(labels.__name__, of);
    const type = labels.type ?? "", stype = labels.stype ?? "";
    const known = of.find((d) => d.type === type && d.stype === stype);
    if (known) known.count++;
    else of.push({ type, stype, count: 1 });
  }
  return new Map([...found].sort(([a], [b]) => byName(a, b)));
}

