// Expressions in PromQL.

/** A text as a string literal. @param {string} text */
export function quoted(text) {
  return JSON.stringify(text);
}

/** A regular expression that matches any of some texts, as a literal. @param {string[]} texts */
export function anyOf(texts) {
  return quoted(texts.map((t) => t.replace(/[\\^$.|?*+()[\]{}-]/g, "\\$&")).join("|"));
}

/**
 * A selector.
 * @param {string} name of the metric
 * @param {Record<string, string|string[]|undefined>} labels several texts: any of them
 */
export function selector(name, labels) {
  const matchers = Object.entries(labels).filter(([, v]) => v !== undefined).map(([label, v]) =>
    typeof v === "string" ? `${label}=${quoted(v)}`
      : v?.length === 1 ? `${label}=${quoted(v[0])}` : `${label}=~${anyOf(v ?? [])}`);
  const plain = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/.test(name);
  return plain ? `${name}{${matchers.join(", ")}}` : `{${[quoted(name), ...matchers].join(", ")}}`;
}

/**
 * The curve of each node: its own value, or that of its devices together.
 * @param {import("./catalog.js").Metric} metric
 * @param {Record<string, string|string[]|undefined>} labels
 * @param {number} step in seconds; each point is the average since the one before
 */
export function nodeCurves(metric, labels, step) {
  if (metric.whole) return `avg_over_time(${selector(metric.whole, labels)}[${step}s])`;
  return `avg by (cluster, hostname) (avg_over_time(${selector(metric.name, labels)}[${step}s]))`;
}

/**
 * The curve of each device of a type.
 * @param {import("./catalog.js").Metric} metric
 * @param {Record<string, string|string[]|undefined>} labels
 * @param {number} step in seconds
 */
export function deviceCurves(metric, labels, step) {
  return `avg_over_time(${selector(metric.name, labels)}[${step}s])`;
}
