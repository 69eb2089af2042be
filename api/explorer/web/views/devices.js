// One metric of a host in depth: a line and a strip for each device, with statistics.
import { change, here, linkTo } from "../address.js";
import { el, fill } from "../dom.js";
import { Figure } from "../figure.js";
import { byName, quantity } from "../format.js";
import { HeatMap } from "../heatmap.js";
import { axisWidth, LinePlot, maxLines } from "../lineplot.js";
import { curves } from "../matrix.js";
import { deviceCurves, nodeCurves } from "../promql.js";
import { statisticsTable } from "../statistics.js";
import { absolute, gridOf } from "../timerange.js";

/** The device of a series in words. @param {Record<string, string>} labels */
export function deviceName({ type = "", type_id = "", stype = "", stype_id = "" }) {
  const device = type === "node" ? "" : `${type} ${type_id}`.trim();
  return [device, `${stype} ${stype_id}`.trim()].filter(Boolean).join(" ") || "node";
}

/** @param {import("../catalog.js").Device} d */
const keyOf = (d) => [d.type, d.stype].filter(Boolean).join("/");

export class DevicePanel {
  /** @param {import("../app.js").Context} context @param {Record<string, string>} labels of the host @param {string} name of the metric */
  constructor(context, labels, name) {
    this.context = context;
    this.labels = labels;
    this.metric = context.metrics.get(name);
    this.tabs = el("div", { class: "tabs", role: "group", "aria-label": "Devices" });
    this.figure = new Figure(name, { class: "detail", name: `${labels.hostname}-${name}` });
    const lines = el("div", {}), strip = el("div", { class: "strip" });
    this.table = el("div", { class: "table" });
    this.figure.root.insertBefore(this.tabs, this.figure.body);
    fill(this.figure.body, el("div", { class: "columns" }, el("div", {}, lines, strip), this.table));
    this.lines = new LinePlot(lines, { height: 260, sync: "host", zoom: (from, to) => change(absolute(from, to)), read: this.figure.read });
    this.heat = new HeatMap(strip, { label: "Devices over time", left: axisWidth, zoom: (from, to) => change(absolute(from, to)), read: this.figure.read });
    this.strip = strip;
    const close = el("a", { class: "button quiet", href: linkTo({ ...here(), metric: "", devices: "" }), "aria-label": "Close" }, "✕");
    /** @type {Element} */ (this.figure.root.querySelector("figcaption")).append(close);
    this.root = this.figure.root;
  }

  /** @param {Map<string, import("../catalog.js").Device[]>} kinds of all metrics */
  async update(kinds) {
    await this.figure.run(async () => {
      const { metric } = this;
      if (!metric) return false;
      const own = kinds.get(metric.name) ?? [];
      const choices = metric.whole && !own.some((d) => d.type === "node" && !d.stype) ? ["node", ...own.map(keyOf)] : own.map(keyOf);
      const chosen = choices.includes(here().devices) ? here().devices : keyOf([...own].sort((a, b) => b.count - a.count)[0] ?? { type: "node", stype: "" });
      fill(this.tabs, ...choices.map((c) => el("a", { href: linkTo({ ...here(), devices: c }), "aria-current": c === chosen ? "true" : null }, c)));
      return this.load(metric, own.find((d) => keyOf(d) === chosen));
    });
  }

  /** @param {import("../catalog.js").Metric} metric @param {import("../catalog.js").Device|undefined} kind none: the whole node */
  async load(metric, kind) {
    const grid = gridOf(this.context.range(), 480, metric.frequency);
    const expr = kind ? deviceCurves(metric, { ...this.labels, type: kind.type, stype: kind.stype }, grid.step) : nodeCurves(metric, this.labels, grid.step);
    const matrix = await curves({ expr, ...grid }, this.context.signal());
    matrix.series.sort((a, b) => byName(deviceName(a.labels), deviceName(b.labels)));
    const names = matrix.series.map((s) => deviceName(s.labels)), many = matrix.series.length > 1;
    this.figure.note.textContent = [metric.help, metric.unit && `in ${metric.unit}`, many && `${names.length} devices`,
      names.length > maxLines && `the first ${maxLines} as lines`].filter(Boolean).join(", ");
    this.lines.show(matrix, names, metric.unit);
    this.strip.hidden = !many;
    const short = kind && names.some((n) => n.length > 14) ? names.map((n) => n.replace(`${kind.type} `, "")) : names;
    if (many) this.heat.show({ names: short, values: matrix.series.map((s) => s.values), times: matrix.times, unit: metric.unit });
    fill(this.table, statisticsTable(matrix.series, names, (v) => quantity(v, metric.unit)));
    this.figure.offer(matrix);
    return matrix.series.length > 0;
  }

  close() {
    this.lines.close();
    this.heat.close();
  }
}
