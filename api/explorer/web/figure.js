// A panel with a plot or table: its title, its states (working, slow, empty, failed) and what can
// be taken out of it.
import { ApiError, isAborted } from "./api.js";
import { el, fill } from "./dom.js";
import { copy, curlOf, rowsOf, saveCSV } from "./export.js";
import { messageOf, nothing } from "./messages.js";

const slowAfter = 4000; // milliseconds

export class Figure {
  /**
   * @param {string|Node} title
   * @param {{class?: string, name?: string, what?: string}} [options] name: of files; what: is missing if it is empty
   */
  constructor(title, options = {}) {
    this.options = options;
    this.note = el("span", { class: "note" });
    this.actions = el("span", { class: "actions" });
    this.reading = el("span", { class: "reading", "aria-live": "off" });
    this.body = el("div", { class: "plot" });
    this.state = el("div", { class: "state", role: "status" });
    const head = el("figcaption", {}, el("h3", {}, title), this.note, this.reading, this.actions);
    this.root = el("figure", { class: `panel ${options.class ?? ""}` }, head, this.body, this.state);
    /** @type {(() => Promise<boolean>)|null} */
    this.work = null;
    this.turn = 0;
  }

  /**
   * Does some work and shows its state.
   * @param {() => Promise<boolean>} work returns whether there is something to show
   */
  async run(work) {
    this.work = work;
    const turn = ++this.turn;
    this.root.classList.add("working");
    const slow = setTimeout(() => this.tell({
      title: "Still working", text: "A shorter time range, or fewer hosts, takes less time.", retry: false,
    }), slowAfter);
    try {
      const some = await work();
      if (turn !== this.turn) return;
      this.tell(some ? null : nothing(this.options.what ?? "values"));
      this.body.hidden = !some;
      this.actions.hidden = !some;
    } catch (problem) {
      if (turn !== this.turn || isAborted(problem)) return;
      if (problem instanceof ApiError && problem.status === 401) dispatchEvent(new CustomEvent("unauthorized", { detail: problem.message }));
      if (!(problem instanceof ApiError)) console.error(problem);
      this.tell(messageOf(problem));
      this.body.hidden = true;
      this.actions.hidden = true;
    } finally {
      clearTimeout(slow);
      if (turn === this.turn) this.root.classList.remove("working");
    }
  }

  /** @param {import("./messages.js").Message|null} message */
  tell(message) {
    fill(this.state, ...message ? [
      el("strong", {}, message.title), el("p", {}, message.text),
      message.retry && this.work && el("button", { onclick: () => this.work && this.run(this.work) }, "Try again"),
    ] : []);
  }

  /** Offers what can be taken out of a matrix. @param {import("./matrix.js").Matrix} matrix */
  offer(matrix) {
    const name = this.options.name ?? "ringstore";
    fill(this.actions,
      el("button", { class: "quiet", title: "Save the values as CSV", onclick: () => saveCSV(name, rowsOf(matrix)) }, "CSV"),
      el("button", { class: "quiet", title: "Copy the request as a curl command; it reads the token from $TOKEN",
        onclick: () => copy(curlOf(matrix.query), "curl command") }, "curl"),
      el("button", { class: "quiet", title: "Copy the expression", onclick: () => copy(matrix.query.expr, "PromQL") }, "PromQL"));
  }

  /** Shows what is under the cursor. @param {string} text */
  read = (text) => {
    this.reading.textContent = text;
    this.root.classList.toggle("read", text !== "");
  };
}
