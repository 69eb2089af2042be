// Lines over time, drawn by uPlot.
import { ink, lineColours } from "./colours.js";
import { fullTime, quantity, time } from "./format.js";

/** @type {any} */
const UPlot = /** @type {any} */ (globalThis).uPlot;

/** How wide the axis of values is, in CSS pixels, so that others can be aligned to it. */
export const axisWidth = 92;

/** How many lines are drawn; more are not told apart. */
export const maxLines = 256;

/**
 * @typedef {object} Options
 * @property {number} height in CSS pixels
 * @property {string} [sync] plots with the same text share one cursor
 * @property {boolean} [small] few axis labels, no name under the cursor
 * @property {(from: number, to: number) => void} [zoom] called after a drag
 * @property {(text: string) => void} [read] gets what is under the cursor; empty: nothing
 * @property {(index: number) => void} [open] called with the series that is clicked
 */

export class LinePlot {
  /** @param {HTMLElement} place @param {Options} options */
  constructor(place, options) {
    this.place = place;
    this.options = options;
    /** @type {any} */
    this.plot = null;
    /** @type {{matrix: import("./matrix.js").Matrix, names: string[], unit: string}|null} */
    this.shown = null;
    this.resizing = new ResizeObserver(() => this.resize());
    this.resizing.observe(place);
    this.redraw = () => this.shown && this.draw(true);
    addEventListener("modechange", this.redraw);
  }

  /**
   * Shows curves.
   * @param {import("./matrix.js").Matrix} matrix
   * @param {string[]} names one for each series
   * @param {string} unit
   */
  show(matrix, names, unit) {
    const anew = !this.shown || !this.plot || this.shown.unit !== unit || this.shown.names.join("\n") !== names.join("\n");
    this.shown = { matrix, names, unit };
    this.draw(anew);
  }

  /** @param {boolean} anew */
  draw(anew) {
    const { matrix } = /** @type {NonNullable<typeof this.shown>} */ (this.shown);
    const data = [matrix.times, ...matrix.series.slice(0, maxLines).map((s) => s.values)];
    if (!anew) {
      this.plot.setData(data);
      return;
    }
    this.plot?.destroy();
    const began = performance.now();
    this.plot = new UPlot(this.configuration(), data, this.place);
    performance.measure("lines", { start: began, detail: data.length - 1 });
  }

  configuration() {
    const { matrix, names, unit } = /** @type {NonNullable<typeof this.shown>} */ (this.shown);
    const { small, sync, height } = this.options, { text, grid } = ink();
    const lines = matrix.series.slice(0, maxLines), colours = lineColours(lines.length);
    const font = "11px system-ui, sans-serif";
    const axis = { stroke: text, font, ticks: { show: false }, grid: { stroke: grid, width: 1 } };
    return {
      width: Math.max(120, this.place.clientWidth), height,
      padding: [8, 0, 0, 0],
      legend: { show: false },
      cursor: {
        points: { show: lines.length <= 8, size: 6 },
        focus: { prox: lines.length > 1 && !small ? 30 : -1 },
        drag: { x: true, y: false, dist: 6 },
        sync: sync ? { key: sync, setSeries: false } : undefined,
        y: false,
      },
      focus: { alpha: lines.length > 1 ? 0.25 : 1 },
      scales: { x: { time: false }, y: { range: yRange } },
      axes: [
        { ...axis, space: small ? 90 : 80, size: 30, gap: 7, incrs: timeSteps, values: labelTimes },
        { ...axis, size: small ? 52 : axisWidth, gap: 5, space: small ? 34 : 44,
          values: (/** @type {any} */ _, /** @type {number[]} */ v) => v.map((x) => quantity(x, small ? "" : unit)) },
      ],
      series: [{}, ...lines.map((_, i) => ({
        label: names[i], stroke: colours[i], width: lines.length > 32 ? 1 : 1.5, spanGaps: false, points: { show: false },
      }))],
      hooks: {
        setSelect: [(/** @type {any} */ u) => this.selected(u)],
        setCursor: [(/** @type {any} */ u) => this.read(u)],
        setSeries: [(/** @type {any} */ u) => this.read(u)],
        ready: [(/** @type {any} */ u) => u.over.addEventListener("click", () => this.clicked(u))],
      },
    };
  }

  /** @param {any} u */
  selected(u) {
    const { left, width } = u.select;
    if (width < 6 || !this.options.zoom) return;
    const from = u.posToVal(left, "x"), to = u.posToVal(left + width, "x");
    u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.zoomed = true;
    this.options.zoom(from, to);
  }

  /** @param {any} u */
  clicked(u) {
    if (this.zoomed) this.zoomed = false; // the end of a drag
    else if (this.options.open && this.focused(u) > 0) this.options.open(this.focused(u) - 1);
  }

  /** The index of the series near the cursor; 0: none. @param {any} u */
  focused(u) {
    if (u.series.length === 2) return 1;
    return u.series.findIndex((/** @type {any} */ s, /** @type {number} */ i) => i > 0 && s._focus);
  }

  /** @param {any} u */
  read(u) {
    if (!this.options.read || !this.shown) return;
    const { matrix, names, unit } = this.shown, at = u.cursor.idx;
    if (at == null || at >= matrix.times.length) return this.options.read("");
    const i = this.focused(u) - 1;
    const value = i >= 0 ? `${names[i]}  ${quantity(matrix.series[i]?.values[at], unit)}  ` : "";
    this.options.read(value + fullTime(matrix.times[at]));
  }

  resize() {
    const width = this.place.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: this.options.height });
  }

  close() {
    this.resizing.disconnect();
    removeEventListener("modechange", this.redraw);
    this.plot?.destroy();
    this.plot = null;
  }
}

/** Lines begin at 0 unless they are far from it. @type {(u: any, min: number, max: number) => [number, number]} */
function yRange(_, min, max) {
  if (min == null || max == null) return [0, 1];
  if (min > 0 && min < max * 0.75 || min === max && min > 0) min = 0;
  if (max < 0 && max > min * 0.75) max = 0;
  const margin = (max - min || Math.abs(max) || 1) * 0.06;
  return [min === 0 ? 0 : min - margin, max === 0 ? 0 : max + margin];
}

const timeSteps = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

/** @param {any} u @param {number[]} times */
function labelTimes(u, times) {
  const span = u.scales.x.max - u.scales.x.min, end = u.bbox.width / devicePixelRatio - 18;
  return times.map((t) => u.valToPos(t, "x") > end ? "" : time(t, span)); // at the edge there is no space for a label
}
