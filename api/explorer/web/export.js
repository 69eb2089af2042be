// What can be taken out of a plot: CSV, a command, an expression.
import { toast } from "./dom.js";

/** A cell of CSV (RFC 4180). A text that a spreadsheet would run as a formula is not one. @param {any} value */
function cell(value) {
  const text = value == null ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** @param {any[][]} rows @returns {string} */
export function csvOf(rows) {
  return rows.map((row) => row.map(cell).join(",") + "\r\n").join("");
}

/**
 * The rows of a matrix: one for each value.
 * @param {import("./matrix.js").Matrix} matrix
 */
export function rowsOf(matrix) {
  const labels = [...new Set(matrix.series.flatMap((s) => Object.keys(s.labels)))].sort();
  /** @type {any[][]} */
  const rows = [[...labels, "timestamp", "value"]];
  for (const s of matrix.series) {
    const own = labels.map((l) => s.labels[l] ?? "");
    s.values.forEach((v, i) => v !== null && rows.push([...own, matrix.times[i], v]));
  }
  return rows;
}

/** Saves rows as a file. @param {string} name without extension @param {any[][]} rows */
export function saveCSV(name, rows) {
  const url = URL.createObjectURL(new Blob([csvOf(rows)], { type: "text/csv" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = `${name.replace(/[^\w.-]+/g, "-")}.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

/** A text as one word of a shell. @param {string} text */
function shellWord(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** The command that asks for the same. The token stays out of it. @param {import("./matrix.js").Query} query */
export function curlOf({ expr, start, end, step }) {
  return `curl -s -G -H "Authorization: Bearer $TOKEN" ${shellWord(`${location.origin}/api/v1/query_range`)}` +
    ` --data-urlencode ${shellWord(`query=${expr}`)} -d start=${start} -d end=${end} -d step=${step}`;
}

/** Copies a text. @param {string} text @param {string} what for the message */
export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    const area = document.createElement("textarea"); // without HTTPS there is no clipboard
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    toast(done ? `${what} copied` : "The browser does not allow copying");
  }
}
