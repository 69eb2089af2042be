// The bar at the top: the views, the time range, who is signed in, light and dark.
import { change, elsewhere, here, linkTo } from "./address.js";
import { chooseMode, isDark } from "./colours.js";
import { choice, el, fill, toast } from "./dom.js";
import { duration, fullTime } from "./format.js";
import { absolute, defaultFrom, inWords, isLive, presets, rangeOf, widened } from "./timerange.js";

const refreshes = [
  { value: "", text: "Off" }, { value: "10", text: "10 s" }, { value: "30", text: "30 s" }, { value: "60", text: "1 min" },
];

/** A time for an input of type datetime-local. @param {number} seconds */
function localTime(seconds) {
  const d = new Date(seconds * 1000 - new Date(seconds * 1000).getTimezoneOffset() * 60000);
  return d.toISOString().slice(0, 19);
}

export class Bar {
  /**
   * @param {HTMLElement} root
   * @param {{refresh: () => void, signOut: () => void}} actions
   */
  constructor(root, actions) {
    this.root = root;
    this.actions = actions;
    this.custom = false; // whether the inputs of an absolute range are open
    this.shown = "";
  }

  /**
   * @param {import("./app.js").Who|null} who null: nobody is signed in
   * @param {string} view
   */
  show(who, view) {
    const state = JSON.stringify([who, view, here(), this.custom, isDark()]);
    if (state === this.shown) return;
    this.shown = state;
    this.who = who;
    this.view = view;
    const brand = el("a", { class: "brand", href: "/" }, el("img", { src: "/explorer/icon.svg", alt: "", width: 22, height: 22 }), "RingStore");
    fill(this.root, brand, who && this.views(who, view), who && view !== "status" && view !== "jobs" && this.times(), this.person(who));
  }

  /** @param {import("./app.js").Who} who @param {string} view */
  views(who, view) {
    const all = [["overview", "Overview"], ["jobs", "Jobs"], ["query", "Query"]];
    if (who.may.status) all.push(["status", "Status"]);
    const under = /** @type {Record<string, string>} */ ({ host: "overview", job: "jobs" });
    const cluster = here().cluster ?? "";
    return el("nav", { "aria-label": "Views" }, ...all.map(([name, text]) => el("a", {
      href: linkTo(elsewhere({ view: name, cluster: name === "query" || name === "status" ? "" : cluster,
        metric: name === "overview" && view === "overview" ? here().metric ?? "" : "", ...(view === "job" ? { from: "", to: "" } : {}) })),
      "aria-current": (under[view] ?? view) === name ? "page" : null,
    }, text)));
  }

  times() {
    const place = here(), from = place.from || defaultFrom;
    const live = isLive(place);
    const some = presets.some((p) => p.value === from) ? presets : [{ value: from, text: inWords(from) }, ...presets];
    const known = live && !place.to ? some : [...presets, { value: "absolute", text: this.describe() }];
    const selected = live && !place.to ? from : "absolute";
    const range = choice("Time", [...known, { value: "custom", text: "From … to …" }], selected, (value) => {
      this.custom = value === "custom";
      if (value !== "custom" && value !== "absolute") change({ from: value === defaultFrom ? "" : value, to: "" });
      else this.show(this.who ?? null, this.view ?? "");
    });
    return el("div", { class: "times" }, range,
      el("button", { class: "quiet icon", title: "Zoom out (−)", "aria-label": "Zoom out", onclick: () => change(widened(rangeOf(here()))) }, "−"),
      el("button", { class: "quiet icon", title: "Back (Alt+←)", "aria-label": "Back", onclick: () => history.back() }, "↩"),
      live && choice("Refresh", refreshes, place.refresh ?? "", (value) => change({ refresh: value }, true)),
      el("button", { class: "quiet icon reload", title: "Reload (r)", "aria-label": "Reload", onclick: this.actions.refresh }, "↻"),
      this.custom && this.form());
  }

  /** The absolute range in words. */
  describe() {
    const { from, to } = rangeOf(here());
    return `${fullTime(from).slice(5, 16)} – ${fullTime(to).slice(5, 16)}`;
  }

  /** The inputs of an absolute range. */
  form() {
    const { from, to } = rangeOf(here());
    const begin = el("input", { type: "datetime-local", step: 1, value: localTime(from), "aria-label": "From" });
    const end = el("input", { type: "datetime-local", step: 1, value: localTime(to), "aria-label": "To" });
    return el("form", { class: "custom", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      const a = new Date(begin.value).getTime() / 1000, b = new Date(end.value).getTime() / 1000;
      if (!(a < b)) return toast("The range has to begin before it ends");
      this.custom = false;
      change(absolute(a, b));
    } }, begin, " – ", end, el("button", {}, "Show"));
  }

  /** @param {import("./app.js").Who|null} who */
  person(who) {
    const mode = el("button", { class: "quiet icon", title: isDark() ? "Light (t)" : "Dark (t)",
      "aria-label": isDark() ? "Use light colours" : "Use dark colours", onclick: () => this.toggleMode() }, isDark() ? "☀" : "☾");
    if (!who) return el("div", { class: "who" }, mode);
    const rest = who.expires ? who.expires - Date.now() / 1000 : 0;
    return el("div", { class: "who" }, mode, el("details", {},
      el("summary", { title: "Who you are" }, who.subject || "everyone"),
      el("div", { class: "menu" },
        el("dl", {},
          el("dt", {}, "Roles"), el("dd", {}, who.roles.join(", ") || "none"),
          who["job-user"] && el("dt", {}, "Jobs of"), who["job-user"] && el("dd", {}, who["job-user"]),
          rest > 0 && el("dt", {}, "Token"), rest > 0 && el("dd", {}, `valid for ${duration(rest)}`)),
        el("button", { onclick: this.actions.signOut }, "Sign out"))));
  }

  toggleMode() {
    chooseMode(isDark() ? "light" : "dark");
    this.show(this.who ?? null, this.view ?? "");
  }

  /** @param {boolean} on */
  working(on) {
    this.root.classList.toggle("working", on);
  }

  /** Keys that work everywhere but in inputs. @param {KeyboardEvent} event */
  keyed(event) {
    const inside = /** @type {Element} */ (event.target).closest("input, textarea, select");
    if (inside || event.ctrlKey || event.metaKey || event.altKey || !this.who) return;
    if (event.key === "r") this.actions.refresh();
    else if (event.key === "t") this.toggleMode();
    else if (event.key === "-") change(widened(rangeOf(here())));
    else if (event.key === "/") {
      event.preventDefault();
      /** @type {HTMLElement|null} */ (document.querySelector("input[type=search], textarea"))?.focus();
    }
  }
}
