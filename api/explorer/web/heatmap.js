// A heat map: rows of names, columns of times, one colour for each value.
import { ink, isDark, rampColour, rampPixels } from "./colours.js";
import { el, fill } from "./dom.js";
import { fullTime, quantity, time } from "./format.js";

/**
 * @typedef {object} Rows
 * @property {string[]} names
 * @property {(number|null)[][]} values of each row
 * @property {number[]} times
 * @property {string} unit
 */

const axisHeight = 22, maxRow = 18, minRow = 1, usualHeight = 520, labelRow = 11;
const missing = { light: 0xfff2f0ee, dark: 0xff2a2420 }; // as 0xAABBGGRR

export class HeatMap {
  /**
   * @param {HTMLElement} place
   * @param {{open?: (name: string) => void, zoom?: (from: number, to: number) => void, read?: (text: string) => void, label: string, left?: number}} options left: where the columns begin
   */
  constructor(place, options) {
    this.options = options;
    this.canvas = el("canvas", {
      tabindex: 0, role: "img", "aria-label": `${options.label}. Arrow keys move, Enter opens the row.`,
      onpointermove: (/** @type {PointerEvent} */ e) => this.moved(e), onpointerleave: () => this.point(null),
      onpointerdown: (/** @type {PointerEvent} */ e) => this.pressed(e), onpointerup: (/** @type {PointerEvent} */ e) => this.released(e),
      onkeydown: (/** @type {KeyboardEvent} */ e) => this.keyed(e), onblur: () => this.point(null),
    });
    this.scale = el("div", { class: "scale" });
    this.place = place;
    place.append(this.canvas, this.scale);
    /** @type {Rows|null} */
    this.rows = null;
    /** @type {{row: number, column: number}|null} */
    this.at = null;
    /** @type {number|null} where a drag began */
    this.from = null;
    this.resizing = new ResizeObserver(() => this.draw());
    this.resizing.observe(place);
    this.redraw = () => this.paint();
    addEventListener("modechange", this.redraw);
  }

  /** @param {Rows} rows */
  show(rows) {
    this.rows = rows;
    this.at = null;
    this.paint();
  }

  /** Colours the cells, one pixel each. */
  paint() {
    if (!this.rows) return;
    const { values, times, unit } = this.rows;
    const [low, high] = this.bounds(values);
    this.image = new OffscreenCanvas(Math.max(1, times.length), Math.max(1, values.length));
    const pixels = new ImageData(this.image.width, this.image.height), words = new Uint32Array(pixels.data.buffer);
    const ramp = rampPixels(), none = isDark() ? missing.dark : missing.light, factor = 255 / (high - low || 1);
    values.forEach((row, r) => {
      for (let c = 0, to = r * times.length; c < times.length; c++, to++) {
        const v = row[c];
        words[to] = v == null ? none : ramp[Math.max(0, Math.min(255, Math.round((v - low) * factor)))];
      }
    });
    /** @type {OffscreenCanvasRenderingContext2D} */ (this.image.getContext("2d")).putImageData(pixels, 0, 0);
    this.key(low, high, unit);
    this.draw();
  }

  /** The values of the lowest and highest colour; a few outliers do not decide. @param {(number|null)[][]} values */
  bounds(values) {
    const all = Float64Array.from(values.flatMap((row) => row.filter((v) => v !== null))).sort();
    if (!all.length) return [0, 1];
    const quantile = (/** @type {number} */ q) => all[Math.min(all.length - 1, Math.round(q * (all.length - 1)))];
    const low = quantile(0.002), high = quantile(0.998);
    return low >= 0 && low < high * 0.5 ? [0, high] : [low, high];
  }

  /** Draws the legend. @param {number} low @param {number} high @param {string} unit */
  key(low, high, unit) {
    const bar = el("canvas", { width: 128, height: 1, "aria-hidden": "true" });
    const context = bar.getContext("2d");
    for (let i = 0; i < 128; i++) {
      context.fillStyle = rampColour(i / 127);
      context.fillRect(i, 0, 1, 1);
    }
    fill(this.scale, quantity(low, unit), bar, quantity(high, unit), el("span", { class: "missing" }), "no value");
  }

  /** Where things are, in CSS pixels. */
  layout() {
    const rows = this.rows?.names.length ?? 0, width = Math.max(100, this.place.clientWidth);
    const row = Math.max(minRow, Math.min(maxRow, usualHeight / Math.max(1, rows)));
    const names = row >= labelRow ? Math.min(width * 0.3, 20 + 6.3 * Math.min(24, this.longest())) : 0;
    const left = this.options.left ?? names;
    return { width, row, left, body: width - left, height: Math.ceil(rows * row) };
  }

  longest() {
    return this.rows?.names.reduce((n, name) => Math.max(n, name.length), 0) ?? 0;
  }

  draw() {
    if (!this.rows || !this.image) return;
    const l = this.layout(), ratio = devicePixelRatio || 1, colours = ink();
    this.canvas.width = Math.round(l.width * ratio);
    this.canvas.height = Math.round((l.height + axisHeight) * ratio);
    this.canvas.style.height = `${l.height + axisHeight}px`;
    const context = this.canvas.getContext("2d");
    context.scale(ratio, ratio);
    context.imageSmoothingEnabled = false;
    context.drawImage(this.image, l.left, 0, l.body, l.height);
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = colours.text;
    if (l.row >= labelRow) this.drawNames(context, l);
    this.drawTimes(context, l);
    if (this.at) this.drawCursor(context, l, colours);
  }

  /** @param {CanvasRenderingContext2D} context @param {ReturnType<HeatMap["layout"]>} l */
  drawNames(context, l) {
    context.textBaseline = "middle";
    context.textAlign = "right";
    /** @type {Rows} */ (this.rows).names.forEach((name, r) => {
      const text = name.length > 24 ? `…${name.slice(-23)}` : name;
      context.fillText(text, l.left - 8, (r + 0.5) * l.row + 0.5, l.left - 10);
      if (l.row >= 14) context.clearRect(l.left, Math.round(r * l.row), l.body, 1);
    });
  }

  /** @param {CanvasRenderingContext2D} context @param {ReturnType<HeatMap["layout"]>} l */
  drawTimes(context, l) {
    const { times } = /** @type {Rows} */ (this.rows);
    if (times.length < 2) return;
    context.textBaseline = "top";
    const span = times[times.length - 1] - times[0], labels = Math.max(2, Math.floor(l.body / 110));
    for (let i = 0; i < labels; i++) {
      const at = i / (labels - 1);
      context.textAlign = i === 0 ? "left" : i === labels - 1 ? "right" : "center";
      context.fillText(time(times[0] + at * span, span), l.left + at * l.body, l.height + 7);
    }
  }

  /** @param {CanvasRenderingContext2D} context @param {ReturnType<HeatMap["layout"]>} l @param {ReturnType<typeof ink>} colours */
  drawCursor(context, l, colours) {
    const { row, column } = /** @type {NonNullable<typeof this.at>} */ (this.at);
    const x = l.left + (column + 0.5) / /** @type {Rows} */ (this.rows).times.length * l.body;
    if (this.from !== null && this.moving) {
      const began = l.left + (this.from + 0.5) / /** @type {Rows} */ (this.rows).times.length * l.body;
      context.globalAlpha = 0.25;
      context.fillStyle = colours.strong;
      context.fillRect(Math.min(began, x), 0, Math.abs(x - began), l.height);
      context.globalAlpha = 1;
      return;
    }
    context.strokeStyle = colours.strong;
    context.strokeRect(l.left + 0.5, row * l.row, l.body - 1, Math.max(3, l.row));
    context.globalAlpha = 0.5;
    context.fillStyle = colours.strong;
    context.fillRect(Math.round(x), 0, 1, l.height);
    context.globalAlpha = 1;
  }

  /** The cell at a pointer. @param {PointerEvent} e */
  cellAt(e) {
    const l = this.layout(), { names, times } = this.rows ?? { names: [], times: [] };
    const column = Math.floor((e.offsetX - l.left) / l.body * times.length), row = Math.floor(e.offsetY / l.row);
    if (row < 0 || row >= names.length) return null;
    return { row, column: Math.max(0, Math.min(times.length - 1, column)) };
  }

  /** @param {{row: number, column: number}|null} at */
  point(at) {
    this.at = at;
    this.draw();
    if (!at || !this.rows) return this.options.read?.("");
    const { names, values, times, unit } = this.rows;
    this.options.read?.(`${names[at.row]}  ${quantity(values[at.row]?.[at.column], unit)}  ${fullTime(times[at.column])}`);
  }

  /** @param {PointerEvent} e */
  moved(e) {
    const at = this.cellAt(e);
    if (this.from !== null && at && Math.abs(at.column - this.from) > 2) this.moving = true;
    this.point(at);
  }

  /** @param {PointerEvent} e */
  pressed(e) {
    if (e.button !== 0) return;
    this.from = this.cellAt(e)?.column ?? null;
    this.moving = false;
    if (e.pointerType === "mouse") this.canvas.setPointerCapture(e.pointerId);
  }

  /** @param {PointerEvent} e */
  released(e) {
    const at = this.cellAt(e), from = this.from, dragged = this.moving;
    this.from = null;
    this.moving = false;
    if (from === null || !at || !this.rows) return;
    const { times, names } = this.rows;
    if (dragged) this.options.zoom?.(times[Math.min(from, at.column)], times[Math.max(from, at.column)]);
    else this.options.open?.(names[at.row]);
  }

  /** @param {KeyboardEvent} e */
  keyed(e) {
    if (!this.rows?.names.length) return;
    const { names, times } = this.rows, at = this.at ?? { row: 0, column: times.length - 1 };
    const moves = /** @type {Record<string, [number, number]>} */ ({ ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] });
    const move = moves[e.key];
    if (e.key === "Enter" && this.at) this.options.open?.(names[at.row]);
    if (!move) return;
    e.preventDefault();
    const moved = this.at ? move : [0, 0];
    this.point({
      row: Math.max(0, Math.min(names.length - 1, at.row + moved[0])),
      column: Math.max(0, Math.min(times.length - 1, at.column + moved[1])),
    });
  }

  close() {
    this.resizing.disconnect();
    removeEventListener("modechange", this.redraw);
  }
}
