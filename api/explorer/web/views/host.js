// A host in depth: all of its metrics, and the devices of one.
import { change, elsewhere, here, linkTo } from "../address.js";
import { devices } from "../catalog.js";
import { el, fill } from "../dom.js";
import { Figure } from "../figure.js";
import { quantity } from "../format.js";
import { LinePlot } from "../lineplot.js";
import { curves, statistics } from "../matrix.js";
import { nodeCurves } from "../promql.js";
import { absolute, gridOf } from "../timerange.js";
import { DevicePanel } from "./devices.js";

export const title = "Host";

/** @type {(root: HTMLElement, context: import("../app.js").Context) => import("../app.js").View} */
export function open(root, context) {
  const view = new Host(root, context);
  return { update: () => view.update(), close: () => view.close() };
}

class Host {
  /** @param {HTMLElement} root @param {import("../app.js").Context} context */
  constructor(root, context) {
    this.context = context;
    const { cluster = "", host = "", metric = "" } = here();
    this.labels = { cluster, hostname: host };
    /** @type {Map<string, {figure: Figure, plot: LinePlot}>} */
    this.plots = new Map();
    this.frame = new Figure(el("span", {}, el("a", { href: linkTo(elsewhere({ view: "overview", cluster })) }, cluster), " / ", host),
      { class: "plain", what: "metrics of this host" });
    this.grid = el("div", { class: "grid" });
    this.detail = metric ? new DevicePanel(context, this.labels, metric) : null;
    this.frame.body.append(...this.detail ? [this.detail.root] : [], this.grid);
    fill(root, this.frame.root);
  }

  async update() {
    await this.frame.run(async () => {
      const { cluster, hostname } = this.labels;
      const kinds = await devices(cluster, hostname, this.context.range(), this.context.signal());
      const names = [...kinds.keys()].filter((n) => this.context.metrics.has(n));
      this.arrange(names);
      await Promise.all([this.detail?.update(kinds), ...names.map((n) => this.load(n, kinds.get(n) ?? []))]);
      return names.length > 0;
    });
  }

  /** Makes a panel for each metric; those that are there stay. @param {string[]} names */
  arrange(names) {
    for (const [name, { plot }] of this.plots) {
      if (names.includes(name)) continue;
      plot.close();
      this.plots.delete(name);
    }
    for (const name of names) {
      if (this.plots.has(name)) continue;
      const about = this.context.metrics.get(name);
      const link = el("a", { href: linkTo({ ...here(), metric: name }), title: about?.help || name }, name);
      const figure = new Figure(link, { class: "small", name: `${this.labels.hostname}-${name}` });
      const plot = new LinePlot(figure.body, {
        height: 120, small: true, sync: "host", zoom: (from, to) => change(absolute(from, to)), read: figure.read,
      });
      this.plots.set(name, { figure, plot });
    }
    fill(this.grid, ...names.map((n) => this.plots.get(n)?.figure.root));
  }

  /** @param {string} name @param {import("../catalog.js").Device[]} kinds */
  load(name, kinds) {
    const { figure, plot } = /** @type {{figure: Figure, plot: LinePlot}} */ (this.plots.get(name));
    const metric = /** @type {import("../catalog.js").Metric} */ (this.context.metrics.get(name));
    return figure.run(async () => {
      const grid = gridOf(this.context.range(), 240, metric.frequency);
      const matrix = await curves({ expr: nodeCurves(metric, this.labels, grid.step), ...grid }, this.context.signal());
      const about = matrix.series.length ? statistics(matrix.series[0].values) : null;
      figure.note.textContent = about ? quantity(about.last ?? about.avg, metric.unit) : "";
      figure.note.title = kinds.map((k) => `${k.count} × ${k.type}${k.stype && ` ${k.stype}`}`).join(", ");
      if (about) plot.show(matrix, [this.labels.hostname], metric.unit);
      figure.offer(matrix);
      return about !== null;
    });
  }

  close() {
    this.detail?.close();
    for (const { plot } of this.plots.values()) plot.close();
  }
}
