// Completion in a line of PromQL: metrics and functions, names and values of labels.
import { isAborted } from "./api.js";
import { values } from "./catalog.js";
import { el, fill } from "./dom.js";

const most = 12;
const labels = ["cluster", "hostname", "type", "type_id", "stype", "stype_id"];
const functions = ["abs", "avg", "avg_over_time", "bottomk", "changes", "clamp_min", "count", "deriv", "group", "histogram_quantile",
  "irate", "label_replace", "last_over_time", "max", "max_over_time", "min", "min_over_time", "predict_linear", "present_over_time", "quantile",
  "quantile_over_time", "rate", "round", "scalar", "sort_desc", "stddev", "sum", "sum_over_time", "topk"];

/**
 * What is being written at the cursor.
 * @param {string} text before the cursor
 * @returns {{kind: "name"|"label"|"value", word: string, label?: string, selector?: string}|null} null: nothing to complete
 */
export function contextOf(text) {
  const open = text.lastIndexOf("{"), inside = open > text.lastIndexOf("}");
  const grouping = /\b(?:by|without|on|ignoring)\s*\(\s*(?:\w+\s*,\s*)*(\w*)$/.exec(text);
  if (grouping) return { kind: "label", word: grouping[1] };
  if (inside) {
    const before = text.slice(open + 1), metric = /([a-zA-Z_:][\w:]*)\s*$/.exec(text.slice(0, open))?.[1] ?? "";
    const value = /(\w+)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)$/.exec(before);
    if (value) return { kind: "value", word: value[2].split("|").pop() ?? "", label: value[1], selector: metric };
    const label = /(?:^|,)\s*(\w*)$/.exec(before);
    return label ? { kind: "label", word: label[1] } : null;
  }
  const word = /[a-zA-Z_:][\w:]*$/.exec(text)?.[0] ?? "";
  return word ? { kind: "name", word } : null;
}

export class Completion {
  /**
   * @param {HTMLTextAreaElement} input
   * @param {Map<string, import("./catalog.js").Metric>} metrics
   * @param {() => AbortSignal} signal
   * @param {() => void} submit
   */
  constructor(input, metrics, signal, submit) {
    this.input = input;
    this.metrics = metrics;
    this.signal = signal;
    this.submit = submit;
    this.list = el("ul", { role: "listbox", id: "completions", class: "completions", hidden: true });
    this.root = el("div", { class: "completing" }, input, this.list);
    input.setAttribute("aria-controls", "completions");
    input.setAttribute("aria-autocomplete", "list");
    input.addEventListener("input", () => this.offer());
    input.addEventListener("keydown", (e) => this.keyed(e));
    input.addEventListener("blur", () => setTimeout(() => this.close(), 150));
    /** @type {string[]} */
    this.offered = [];
    this.chosen = 0;
    this.turn = 0;
  }

  async offer() {
    const turn = ++this.turn, at = contextOf(this.input.value.slice(0, this.input.selectionStart));
    let all = /** @type {string[]} */ ([]);
    try {
      all = at ? await this.candidates(at) : [];
    } catch (problem) {
      if (!isAborted(problem)) console.debug(problem); // completion is a convenience: the query itself says what is wrong
    }
    if (turn !== this.turn || !at) return at ? undefined : this.close();
    const word = at.word.toLowerCase();
    this.offered = [...all.filter((c) => c.toLowerCase().startsWith(word)), ...all.filter((c) => c.toLowerCase().indexOf(word) > 0)]
      .filter((c) => c !== at.word).slice(0, most);
    this.word = at.word;
    this.chosen = 0;
    this.draw();
  }

  /** @param {NonNullable<ReturnType<typeof contextOf>>} at */
  async candidates(at) {
    if (at.kind === "label") return labels;
    if (at.kind === "name") return [...[...this.metrics.values()].flatMap((m) => m.whole ? [m.name, m.whole] : [m.name]), ...functions];
    const match = at.selector && (this.metrics.has(at.selector) || at.selector.startsWith("node:")) ? [at.selector] : [];
    return labels.includes(at.label ?? "") ? values(at.label ?? "", match, null, this.signal()) : [];
  }

  draw() {
    this.list.hidden = this.offered.length === 0;
    fill(this.list, ...this.offered.map((text, i) => el("li", {
      role: "option", id: `completion-${i}`, "aria-selected": i === this.chosen ? "true" : "false",
      onpointerdown: (/** @type {Event} */ e) => { e.preventDefault(); this.take(text); },
    }, text)));
    if (this.list.hidden) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", `completion-${this.chosen}`);
  }

  /** @param {string} text */
  take(text) {
    const end = this.input.selectionStart, start = end - (this.word?.length ?? 0);
    this.input.setRangeText(text, start, end, "end");
    this.close();
    this.input.focus();
  }

  close() {
    this.turn++;
    this.offered = [];
    this.draw();
  }

  /** @param {KeyboardEvent} e */
  keyed(e) {
    const n = this.offered.length;
    if (n && (e.key === "ArrowDown" || e.key === "ArrowUp")) {
      e.preventDefault();
      this.chosen = (this.chosen + (e.key === "ArrowDown" ? 1 : n - 1)) % n;
      this.draw();
    } else if (n && e.key === "Tab") {
      e.preventDefault();
      this.take(this.offered[this.chosen]);
    } else if (n && e.key === "Escape") {
      this.close();
    } else if (e.key === "Enter" && !e.shiftKey) {
      e.preventDefault();
      this.close();
      this.submit();
    }
  }
}
