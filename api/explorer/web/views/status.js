// The state of the service, for its administrators.
import { ask } from "../api.js";
import { linkTo } from "../address.js";
import { el, fill } from "../dom.js";
import { Figure } from "../figure.js";
import { ago, bytes, count, duration, quantity } from "../format.js";

export const title = "Status";

/** @type {(root: HTMLElement, context: import("../app.js").Context) => import("../app.js").View} */
export function open(root, context) {
  const figure = new Figure("Status", { class: "plain", what: "status" });
  fill(root, figure.root);
  return {
    update: () => figure.run(async () => {
      const s = await ask("/api/status", [["top", "10"]], context.signal());
      fill(figure.body, ...notes(s), el("div", { class: "cards" }, ...cards(s)), el("div", { class: "tables" }, ...tables(s)));
      return true;
    }),
  };
}

/** @param {any} s */
function notes(s) {
  const all = [...s.reasons.map((/** @type {string} */ r) => ["bad", r]), ...s.notes.map((/** @type {string} */ n) => ["", n])];
  if (s.checkpoint?.error) all.push(["bad", `The last checkpoint failed: ${s.checkpoint.error}`]);
  return all.length ? all.map(([kind, text]) => el("p", { class: `remark ${kind}` }, text)) : [];
}

/** @param {string} name @param {string} value @param {string} [more] @param {Node|null} [extra] */
function card(name, value, more = "", extra = null) {
  return el("div", { class: "card" }, el("span", { class: "name" }, name), el("strong", {}, value), extra, el("span", { class: "more" }, more));
}

/** @param {any} s */
function cards(s) {
  const m = s.memory, limit = m.limit || m.cap;
  const meter = limit ? el("meter", { min: 0, max: limit, value: m.bytes, high: limit * 0.9, "aria-label": "memory for samples" }) : null;
  const c = s.checkpoint;
  return [
    card("Service", s.ready ? "Ready" : "Not ready", `up ${duration(s.uptime)}, version ${s.version || "unknown"}`),
    card("Samples in memory", bytes(m.bytes), limit ? `of ${bytes(limit)}; the process uses ${bytes(m.process ?? 0)}` : "no limit", meter),
    card("Series", count(s.series), `${count(s.hosts)} hosts in ${s.clusters.length} ${s.clusters.length === 1 ? "cluster" : "clusters"}`),
    card("Blocks", count(m.blocks), `${bytes(m["block-bytes"])}, ${count(m["evicted-windows"])} windows evicted`),
    card("Journal", bytes(s.journal.bytes), s.journal.unavailable || `${s.journal.segments} segments since the last checkpoint`),
    card("Checkpoint", c?.time ? ago(c.time) : "None yet", c?.took ? `took ${quantity(c.took, "s")}, ${bytes(c.bytes ?? 0)}` : ""),
  ];
}

/** @param {string} name @param {string[]} heads @param {any[][]} rows */
function table(name, heads, rows) {
  return el("section", { class: "panel" }, el("h4", {}, name), el("div", { class: "scroll" }, el("table", { class: "list" },
    el("thead", {}, el("tr", {}, ...heads.map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, ...rows.map(([first, ...rest]) => el("tr", {}, el("th", { scope: "row" }, first), ...rest.map((v) => el("td", {}, v))))))));
}

/** @param {any} s */
function tables(s) {
  const cluster = (/** @type {string} */ name) => el("a", { href: linkTo({ view: "overview", cluster: name }) }, name);
  const host = (/** @type {any} */ h) => el("a", { href: linkTo({ view: "host", cluster: h.cluster, host: h.name }) }, h.name);
  const sizes = (/** @type {any} */ x) => [count(x.series), bytes(x.bytes)];
  const all = [
    table("Clusters", ["Cluster", "Hosts", "Series", "Memory"], s.clusters.map((/** @type {any} */ c) => [cluster(c.cluster), count(c.hosts), ...sizes(c)])),
    table("Largest hosts", ["Host", "Cluster", "Series", "Memory"], s["top-hosts"]["by-bytes"].map((/** @type {any} */ h) => [host(h), h.cluster, ...sizes(h)])),
    table("Largest metrics", ["Metric", "Series", "Memory"], s["top-metrics"]["by-bytes"].map((/** @type {any} */ m) => [m.name, ...sizes(m)])),
  ];
  if (s.subscriptions.length) {
    all.push(table("Subscriptions", ["Subject", "Counters since the start"], s.subscriptions.map((/** @type {any} */ n) => [n.subject,
      Object.entries(n.counters).filter(([, v]) => v).map(([k, v]) => `${k.replaceAll("_", " ")} ${count(/** @type {number} */ (v))}`).join(", ")])));
  }
  return all;
}
