// A line of PromQL, as curves and as a table.
import { change, here } from "../address.js";
import { Completion } from "../completion.js";
import { el, fill } from "../dom.js";
import { Figure } from "../figure.js";
import { LinePlot, maxLines } from "../lineplot.js";
import { curves } from "../matrix.js";
import { quantity } from "../format.js";
import { statisticsTable } from "../statistics.js";
import { absolute, gridOf } from "../timerange.js";

export const title = "Query";

const points = 400;

/** The labels of a series in PromQL's form. @param {Record<string, string>} labels */
function seriesName(labels) {
  const { __name__ = "", ...rest } = labels;
  const text = Object.entries(rest).map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(", ");
  return text || !__name__ ? `${__name__}{${text}}` : __name__;
}

/** @type {(root: HTMLElement, context: import("../app.js").Context) => import("../app.js").View} */
export function open(root, context) {
  const view = new Query(root, context);
  return { update: () => view.update(), close: () => view.plot.close() };
}

class Query {
  /** @param {HTMLElement} root @param {import("../app.js").Context} context */
  constructor(root, context) {
    this.context = context;
    this.input = el("textarea", { rows: 2, spellcheck: "false", autocapitalize: "off", "aria-label": "PromQL", placeholder: "PromQL, for example " + this.example() });
    this.input.value = here().expr ?? "";
    const submit = () => here().expr === this.input.value ? this.update() : change({ expr: this.input.value });
    this.completion = new Completion(this.input, context.metrics, () => context.signal(), submit);
    this.figure = new Figure("Result", { name: "query", what: "series" });
    const place = el("div", {});
    this.table = el("div", { class: "table" });
    fill(this.figure.body, place, this.table);
    this.plot = new LinePlot(place, { height: 340, zoom: (from, to) => change(absolute(from, to)), read: this.figure.read });
    fill(root, el("form", { class: "query", onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); submit(); } },
      this.completion.root, el("button", { class: "primary", title: "Run (Enter)" }, "Run")), this.figure.root);
  }

  example() {
    const [name] = this.context.metrics.keys();
    return name ? `topk(5, avg by (hostname) (${name}))` : "up";
  }

  async update() {
    const expr = here().expr ?? "";
    if (this.input.value !== expr && document.activeElement !== this.input) this.input.value = expr;
    this.figure.root.hidden = !expr;
    if (!expr) return this.input.focus();
    await this.figure.run(async () => {
      const range = this.context.range(), signal = this.context.signal();
      const shortest = Math.min(60, ...[...this.context.metrics.values()].filter((m) => expr.includes(m.name)).map((m) => m.frequency));
      const matrix = await curves({ expr, ...gridOf(range, points, Math.max(1, shortest)) }, signal);
      matrix.series.sort((a, b) => seriesName(a.labels) < seriesName(b.labels) ? -1 : 1);
      const unit = this.unitOf(expr), names = matrix.series.map((s) => seriesName(s.labels));
      this.figure.note.textContent = [`${names.length} series`, `one point per ${matrix.query.step} s`, names.length > maxLines && `the first ${maxLines} as lines`].filter(Boolean).join(", ");
      if (names.length) this.plot.show(matrix, names, unit);
      fill(this.table, statisticsTable(matrix.series, names, (v) => quantity(v, unit)));
      this.figure.offer(matrix);
      return names.length > 0;
    });
  }

  /** The unit of a result: that of the only metric in it, unless something is computed. @param {string} expr */
  unitOf(expr) {
    const named = [...this.context.metrics.values()].filter((m) => new RegExp(`\\b${m.name.replace(/\W/g, "\\$&")}\\b`).test(expr));
    const computed = /[*/^%]|\b(count|rate|irate|deriv|quantile|stddev|stdvar|group)\w*\s*(by|without|\()/.test(expr);
    return named.length === 1 && !computed ? named[0].unit : "";
  }
}

