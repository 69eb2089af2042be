// Starts the page: takes the token, asks who it is, and opens the view that the address names.
import { ask, isAborted } from "./api.js";
import { followLink, go, here, linkTo, onPlace } from "./address.js";
import { Bar } from "./bar.js";
import { metrics } from "./catalog.js";
import { applyMode } from "./colours.js";
import { el, fill } from "./dom.js";
import { messageOf } from "./messages.js";
import { forget, takeFromAddress, token } from "./session.js";
import { signIn } from "./signin.js";
import { isLive, rangeOf } from "./timerange.js";
import * as host from "./views/host.js";
import * as job from "./views/job.js";
import * as jobs from "./views/jobs.js";
import * as overview from "./views/overview.js";
import * as query from "./views/query.js";
import * as status from "./views/status.js";

/**
 * @typedef {object} Who the answer of /api/whoami
 * @property {string} subject
 * @property {string} [job-user]
 * @property {string[]} roles
 * @property {number} [expires]
 * @property {Record<string, string[]>} may
 * @property {Record<string, string>} [sees]
 */

/**
 * @typedef {object} Context what a view works with
 * @property {Who} who
 * @property {Map<string, import("./catalog.js").Metric>} metrics
 * @property {() => import("./address.js").Place} place
 * @property {() => import("./timerange.js").Range} range
 * @property {() => AbortSignal} signal of the current update
 */

/**
 * @typedef {object} View
 * @property {() => Promise<void>} update loads what is shown for the current address and time
 * @property {() => void} [close]
 */

/** @type {Record<string, {title: string, open: (root: HTMLElement, context: Context) => View}>} */
const views = { overview, host, jobs, job, query, status };

const root = /** @type {HTMLElement} */ (document.getElementById("view"));
const bar = new Bar(/** @type {HTMLElement} */ (document.getElementById("bar")), { refresh: () => update(), signOut });

/** @type {Who|null} */
let who = null;
/** @type {Map<string, import("./catalog.js").Metric>} */
let known = new Map();
/** @type {View|null} */
let view = null;
let shown = ""; // the address of the view without its time range
let aborter = new AbortController();
/** @type {number|undefined} */
let timer;

/** What a principal sees first: everything, or its own jobs. @param {Who} w */
function firstView(w) {
  return Object.values(w.sees ?? {}).includes("all") || !w["job-user"] ? "overview" : "jobs";
}

function viewName() {
  const name = here().view;
  return Object.hasOwn(views, name) ? name : firstView(/** @type {Who} */ (who));
}

/** Starts with the token that there is. */
async function start() {
  closeView();
  bar.show(null, "");
  try {
    /** @type {Who} */
    const asked = await ask("/api/whoami");
    known = asked.may.query ? await metrics() : new Map();
    who = asked; // only now: the address may have changed meanwhile
  } catch (/** @type {any} */ problem) {
    who = null;
    if (problem.status === 401) return signIn(root, token() ? problem.message : "", start);
    const message = messageOf(problem);
    return fill(root, el("section", { class: "notice" }, el("h2", {}, message.title), el("p", {}, message.text),
      el("button", { onclick: start }, "Try again"), " ", el("button", { class: "quiet", onclick: signOut }, "Use another token")));
  }
  place();
}

/** Shows what the address names. */
function place() {
  if (!who) return;
  const { from, to, refresh, ...rest } = here();
  const identity = linkTo({ ...rest, view: viewName() });
  bar.show(who, viewName());
  if (!view || identity !== shown) {
    closeView();
    shown = identity;
    fill(root);
    const { title, open } = views[viewName()];
    document.title = `${rest.host || (rest.job && `Job ${rest.job}`) || title} · RingStore`;
    view = open(root, { who, metrics: known, place: here, range: () => rangeOf(here()), signal: () => aborter.signal });
    scrollTo(0, 0);
  }
  update();
}

function closeView() {
  aborter.abort();
  clearTimeout(timer);
  view?.close?.();
  view = null;
}

/** Loads the data of the current view, and does so again if the address says so. */
async function update() {
  if (!view) return;
  clearTimeout(timer);
  aborter.abort();
  aborter = new AbortController();
  const mine = aborter;
  bar.working(true);
  try {
    await view.update();
  } catch (problem) {
    if (!isAborted(problem)) console.error(problem);
  }
  if (mine !== aborter) return;
  bar.working(false);
  const seconds = Number(here().refresh);
  if (seconds >= 5 && isLive(here())) timer = setTimeout(() => document.hidden ? waitUntilSeen() : update(), seconds * 1000);
}

function waitUntilSeen() {
  document.addEventListener("visibilitychange", () => update(), { once: true });
}

function signOut() {
  forget();
  who = null;
  go({});
  start();
}

addEventListener("unauthorized", (event) => {
  if (!who) return;
  who = null;
  closeView();
  bar.show(null, "");
  signIn(root, /** @type {CustomEvent} */ (event).detail, start);
});
addEventListener("hashchange", () => takeFromAddress() && start());
document.addEventListener("click", followLink);
document.addEventListener("keydown", (event) => bar.keyed(event));
onPlace(place);
applyMode();
takeFromAddress();
start();
