// A table of the statistics of curves.
import { lineColours } from "./colours.js";
import { el } from "./dom.js";
import { statistics } from "./matrix.js";

const shown = 64;

/**
 * @param {import("./matrix.js").Series[]} series
 * @param {(string|Node)[]} names
 * @param {(v: number|null|undefined) => string} format
 */
export function statisticsTable(series, names, format) {
  const colours = lineColours(series.length);
  const rows = series.slice(0, shown).map((s, i) => {
    const about = statistics(s.values);
    const swatch = el("i", { class: "swatch" });
    swatch.style.backgroundColor = colours[i];
    return el("tr", {}, el("th", { scope: "row" }, swatch, names[i]),
      ...[about?.min, about?.avg, about?.max, about?.last].map((v) => el("td", {}, format(v))));
  });
  const heads = ["", "min", "avg", "max", "last"].map((h) => el("th", { scope: "col" }, h));
  return el("div", {}, el("table", { class: "statistics" }, el("thead", {}, el("tr", {}, ...heads)), el("tbody", {}, ...rows)),
    series.length > shown && el("p", { class: "hint" }, `${series.length - shown} more; CSV has all of them.`));
}
