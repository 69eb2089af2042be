// A cluster at a glance: one row for each host, time across.
import { change, elsewhere, go, here, linkTo } from "../address.js";
import { clusters, metricNames, values } from "../catalog.js";
import { choice, el, fill } from "../dom.js";
import { Figure } from "../figure.js";
import { ago, byName, quantity } from "../format.js";
import { HeatMap } from "../heatmap.js";
import { curves, statistics } from "../matrix.js";
import { noJobSource } from "../messages.js";
import { nodeCurves, selector } from "../promql.js";
import { absolute, gridOf } from "../timerange.js";

export const title = "Overview";

const listed = 8, maxPoints = 150_000, maxColumns = 240;

/** @type {(root: HTMLElement, context: import("../app.js").Context) => import("../app.js").View} */
export function open(root, context) {
  const view = new Overview(root, context);
  return { update: () => view.update(), close: () => view.heat.close() };
}

class Overview {
  /** @param {HTMLElement} root @param {import("../app.js").Context} context */
  constructor(root, context) {
    this.context = context;
    this.tools = el("div", { class: "tools" });
    this.figure = new Figure("", { class: "wide", name: "overview", what: "values" });
    this.heat = new HeatMap(this.figure.body, {
      label: "Hosts over time", read: this.figure.read,
      open: (name) => go(elsewhere({ view: "host", cluster: this.cluster, host: name })),
      zoom: (from, to) => change(absolute(from, to)),
    });
    this.side = el("aside", { "aria-label": "Hosts" });
    fill(root, this.tools, el("div", { class: "overview" }, this.figure.root, this.side));
    this.cluster = "";
    this.filter = here().filter ?? "";
    this.order = here().order ?? "name";
    /** @type {import("../matrix.js").Matrix|null} */
    this.matrix = null;
  }

  async update() {
    await this.figure.run(() => this.load());
  }

  async load() {
    const { context } = this, signal = context.signal(), range = context.range();
    const all = await clusters(signal);
    this.cluster = here().cluster || all[0] || "";
    fill(this.side);
    if (!this.cluster) {
      this.drawTools(all, []);
      return this.empty();
    }
    const names = (await metricNames({ cluster: this.cluster }, null, signal)).filter((n) => context.metrics.has(n));
    const name = here().metric || names.find((n) => n === "cpu_load") || names[0] || "";
    this.drawTools(all, names, name);
    this.metric = context.metrics.get(name);
    if (!this.metric) return this.empty();
    const hosts = await values("hostname", [selector(name, { cluster: this.cluster })], null, signal);
    const grid = gridOf(range, Math.max(30, Math.min(maxColumns, Math.floor(maxPoints / Math.max(1, hosts.length)))), this.metric.frequency);
    this.matrix = await curves({ expr: nodeCurves(this.metric, { cluster: this.cluster }, grid.step), ...grid }, signal);
    this.hosts = hosts;
    this.figure.offer(this.matrix);
    this.draw();
    return this.matrix.series.length > 0;
  }

  /** Says why there is no cluster or metric. */
  empty() {
    const { who } = this.context;
    const own = Object.values(who.sees ?? {}).includes("own-jobs");
    fill(this.side);
    if (own) fill(this.side, el("p", { class: "hint" }, "You see the hosts of your jobs while they run. ", el("a", { href: linkTo({ view: "jobs" }) }, "Your jobs")));
    else if (!who.sees) fill(this.side, el("p", { class: "hint" }, noJobSource.text));
    return false;
  }

  /** @param {string[]} all @param {string[]} names @param {string} [name] */
  drawTools(all, names, name = "") {
    const search = el("input", { type: "search", placeholder: "Filter hosts", value: this.filter, "aria-label": "Filter hosts", title: "Filter hosts (/)",
      oninput: () => { this.filter = search.value; this.draw(); }, onchange: () => change({ filter: search.value }, true) });
    if (document.activeElement?.matches(".tools input")) return; // somebody is typing
    fill(this.tools,
      choice("Cluster", all.map((value) => ({ value })), this.cluster, (cluster) => change({ cluster, metric: "" })),
      names.length > 0 && choice("Metric", names.map((value) => ({ value })), name, (metric) => change({ metric })),
      choice("Order", [{ value: "name", text: "by name" }, { value: "high", text: "highest first" }, { value: "low", text: "lowest first" }], this.order,
        (order) => { this.order = order; this.draw(); }),
      search);
  }

  draw() {
    const { matrix, metric, hosts } = this;
    if (!matrix || !metric || !hosts) return;
    const wanted = this.filter.toLowerCase();
    const rows = matrix.series.map((s) => ({ name: s.labels.hostname ?? "", values: s.values, about: statistics(s.values) }))
      .filter((r) => r.name.toLowerCase().includes(wanted));
    const average = (/** @type {typeof rows[0]} */ r) => r.about?.avg ?? -Infinity;
    rows.sort(this.order === "high" ? (a, b) => average(b) - average(a) : this.order === "low" ? (a, b) => average(a) - average(b) : (a, b) => byName(a.name, b.name));
    this.heat.show({ names: rows.map((r) => r.name), values: rows.map((r) => r.values), times: matrix.times, unit: metric.unit });
    fill(/** @type {Element} */ (this.figure.root.querySelector("h3")), metric.help || metric.name);
    this.figure.note.textContent = `${rows.length} ${rows.length === 1 ? "host" : "hosts"}, one point per ${matrix.query.step} s`;
    this.drawSide(rows, hosts.filter((h) => h.toLowerCase().includes(wanted)));
  }

  /** @param {{name: string, values: (number|null)[], about: any}[]} rows @param {string[]} hosts */
  drawSide(rows, hosts) {
    const { metric, matrix } = this;
    if (!metric || !matrix) return;
    const ranked = rows.filter((r) => r.about).sort((a, b) => b.about.avg - a.about.avg);
    const top = ranked[0]?.about.avg ?? 0;
    const list = (/** @type {typeof ranked} */ some) => el("ol", { class: "ranks" }, ...some.map((r) => el("li", {},
      this.link(r.name), el("meter", { min: 0, max: Math.max(top, 1e-12), value: Math.max(0, r.about.avg), "aria-hidden": "true" }),
      el("span", { class: "number" }, quantity(r.about.avg, metric.unit)))));
    const silent = this.silent(rows, hosts);
    fill(this.side,
      el("section", {}, el("h4", {}, "Highest on average"), list(ranked.slice(0, listed))),
      ranked.length > listed && el("section", {}, el("h4", {}, "Lowest on average"), list(ranked.slice(-listed).reverse())),
      el("section", {}, el("h4", {}, `Silent at the end (${silent.length})`), silent.length === 0 ? el("p", { class: "hint" }, "Every host sent values.")
        : el("ul", { class: "ranks" }, ...silent.slice(0, 20).map((s) => el("li", {}, this.link(s.name),
          el("span", { class: "number" }, s.since ? ago(s.since) : "no value")))),
      silent.length > 20 && el("p", { class: "hint" }, `and ${silent.length - 20} more`)));
  }

  /**
   * The hosts without values at the end of the range.
   * @param {{name: string, values: (number|null)[]}[]} rows @param {string[]} hosts
   */
  silent(rows, hosts) {
    const { times } = /** @type {import("../matrix.js").Matrix} */ (this.matrix);
    const byHost = new Map(rows.map((r) => [r.name, r.values]));
    return hosts.map((name) => {
      const last = byHost.get(name)?.findLastIndex((v) => v !== null) ?? -1;
      return { name, since: last < 0 ? 0 : times[last], quiet: last < times.length - 3 };
    }).filter((s) => s.quiet).sort((a, b) => b.since - a.since);
  }

  /** @param {string} host */
  link(host) {
    return el("a", { href: linkTo(elsewhere({ view: "host", cluster: this.cluster, host })), title: host }, host);
  }
}
