// A job: the curves of its hosts, their statistics and how unevenly they are loaded.
import { change, elsewhere, here, linkTo } from "../address.js";
import { metricNames } from "../catalog.js";
import { el, fill } from "../dom.js";
import { Figure } from "../figure.js";
import { byName, duration, fullTime, quantity } from "../format.js";
import { LinePlot, maxLines } from "../lineplot.js";
import { curves, imbalance, statistics } from "../matrix.js";
import { nodeCurves } from "../promql.js";
import { statisticsTable } from "../statistics.js";
import { absolute, gridOf } from "../timerange.js";
import { jobsOf } from "./jobs.js";

export const title = "Job";

/** @type {(root: HTMLElement, context: import("../app.js").Context) => import("../app.js").View} */
export function open(root, context) {
  const view = new Job(root, context);
  return { update: () => view.update(), close: () => view.close() };
}

/** Colours 5 % and more as uneven. @param {number|null} v */
function imbalanceText(v) {
  return v === null ? "" : `imbalance ${(100 * v).toFixed(v < 0.1 ? 1 : 0)}\u202f%`;
}

class Job {
  /** @param {HTMLElement} root @param {import("../app.js").Context} context */
  constructor(root, context) {
    this.context = context;
    this.frame = new Figure("", { class: "plain", what: "job with this number" });
    this.facts = el("dl", { class: "facts" });
    this.detail = here().metric ? this.panel(here().metric, false) : null;
    this.grid = el("div", { class: "grid" });
    this.table = el("div", { class: "table" });
    fill(this.frame.body, this.facts, this.detail?.figure.root, this.grid);
    if (this.detail) this.detail.figure.root.append(this.table);
    fill(root, this.frame.root);
    /** @type {Map<string, {figure: Figure, plot: LinePlot}>} */
    this.plots = new Map();
  }

  /** @param {string} name @param {boolean} small */
  panel(name, small) {
    const about = this.context.metrics.get(name);
    const link = el("a", { href: linkTo({ ...here(), metric: small ? name : "" }), title: about?.help || name }, name, small ? "" : " ✕");
    const figure = new Figure(link, { class: small ? "small" : "detail", name: `job-${here().job}-${name}` });
    const plot = new LinePlot(figure.body, {
      height: small ? 130 : 280, small, sync: "job", zoom: (from, to) => change(absolute(from, to)), read: figure.read,
      open: (i) => this.hosts?.[i] && change(elsewhere({ view: "host", host: this.hosts[i], job: "", user: "" })),
    });
    return { figure, plot };
  }

  async update() {
    await this.frame.run(async () => {
      const signal = this.context.signal(), { job = "", cluster = "", user = "" } = here();
      const found = (await jobsOf(user, signal)).find((j) => String(j.jobId) === job && j.cluster === cluster);
      fill(/** @type {Element} */ (this.frame.root.querySelector("h3")), `Job ${job}`);
      if (!found) return false;
      this.hosts = [...found.hosts].sort(byName);
      this.describe(found);
      const labels = { cluster, hostname: this.hosts };
      const names = (await metricNames({ cluster, hostname: this.hosts[0] ?? "" }, this.context.range(), signal)).filter((n) => this.context.metrics.has(n));
      for (const name of names) if (!this.plots.has(name)) this.plots.set(name, this.panel(name, true));
      fill(this.grid, ...names.map((n) => this.plots.get(n)?.figure.root));
      await Promise.all([
        ...this.detail ? [this.load(here().metric, labels, this.detail, 480)] : [],
        ...names.map((n) => this.load(n, labels, /** @type {any} */ (this.plots.get(n)), 240)),
      ]);
      return true;
    });
  }

  /** @param {import("./jobs.js").Job} j */
  describe(j) {
    const facts = [["User", j.user], ["Project", j.project], ["Cluster", j.cluster], ["Nodes", j.hosts.length],
      ["Start", fullTime(j.from)], [j.running ? "Running for" : "Ran for", duration(j.to - j.from)]];
    fill(this.facts, ...facts.filter(([, v]) => v !== "").map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v))));
  }

  /**
   * @param {string} name @param {Record<string, string|string[]>} labels
   * @param {{figure: Figure, plot: LinePlot}} panel @param {number} points
   */
  load(name, labels, { figure, plot }, points) {
    return figure.run(async () => {
      const metric = this.context.metrics.get(name);
      if (!metric) return false;
      const grid = gridOf(this.context.range(), points, metric.frequency);
      const matrix = await curves({ expr: nodeCurves(metric, labels, grid.step), ...grid }, this.context.signal());
      matrix.series.sort((a, b) => byName(a.labels.hostname, b.labels.hostname));
      const hosts = matrix.series.map((s) => s.labels.hostname), uneven = imbalance(matrix.series);
      const mean = matrix.series.map((s) => statistics(s.values)?.avg ?? NaN).filter((v) => !Number.isNaN(v));
      figure.note.textContent = [mean.length && `∅ ${quantity(mean.reduce((a, b) => a + b, 0) / mean.length, metric.unit)}`,
        imbalanceText(uneven), hosts.length > maxLines && `the first ${maxLines} of ${hosts.length} hosts`].filter(Boolean).join(" · ");
      figure.note.title = "Imbalance: by how much the host with the highest average exceeds the mean of all hosts";
      figure.root.classList.toggle("uneven", (uneven ?? 0) >= 0.25);
      plot.show(matrix, hosts, metric.unit);
      if (this.detail?.figure === figure) this.list(matrix, metric);
      figure.offer(matrix);
      return matrix.series.length > 0;
    });
  }

  /** @param {import("../matrix.js").Matrix} matrix @param {import("../catalog.js").Metric} metric */
  list(matrix, metric) {
    const names = matrix.series.map((s) => el("a", { href: linkTo(elsewhere({ view: "host", cluster: s.labels.cluster, host: s.labels.hostname })) }, s.labels.hostname));
    fill(this.table, statisticsTable(matrix.series, names, (v) => quantity(v, metric.unit)));
  }

  close() {
    this.detail?.plot.close();
    for (const { plot } of this.plots.values()) plot.close();
  }
}
