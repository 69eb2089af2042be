// The jobs whose data may be seen, newest first.
import { ask } from "../api.js";
import { change, here, linkTo } from "../address.js";
import { el, fill } from "../dom.js";
import { Figure } from "../figure.js";
import { count, duration, fullTime } from "../format.js";

export const title = "Jobs";

const shown = 200;

/**
 * @typedef {object} Job
 * @property {number} jobId @property {string} cluster @property {string} user @property {string} project
 * @property {string[]} hosts @property {number} from @property {number} to @property {boolean} running
 */

/** @param {string} user @param {AbortSignal} signal @returns {Promise<Job[]>} */
export async function jobsOf(user, signal) {
  return (await ask("/api/jobs", user ? [["user", user]] : [], signal)).jobs;
}

/** The page of a job, with a little time before and after it. @param {Job} j */
export function linkToJob(j) {
  const margin = Math.max(60, Math.round((j.to - j.from) * 0.02));
  return linkTo({ view: "job", cluster: j.cluster, job: String(j.jobId), user: here().user ?? "",
    from: String(j.from - margin), to: j.running ? "" : String(j.to + margin) });
}

/** @type {(root: HTMLElement, context: import("../app.js").Context) => import("../app.js").View} */
export function open(root, context) {
  const view = new Jobs(root, context);
  return { update: () => view.update() };
}

class Jobs {
  /** @param {HTMLElement} root @param {import("../app.js").Context} context */
  constructor(root, context) {
    this.context = context;
    this.figure = new Figure(here().user ? `Jobs of ${here().user}` : "Your jobs", { class: "plain", what: "jobs" });
    const others = context.who.roles.some((r) => r === "admin" || r === "support");
    const user = el("input", { type: "search", placeholder: "User", value: here().user ?? "", "aria-label": "User", onchange: () => change({ user: user.value.trim() }) });
    this.filter = el("input", { type: "search", placeholder: "Filter: id, host, project", "aria-label": "Filter jobs", oninput: () => this.draw() });
    fill(root, el("div", { class: "tools" }, others && el("label", { class: "field" }, el("span", {}, "User"), user), this.filter), this.figure.root);
    /** @type {Job[]} */
    this.all = [];
  }

  async update() {
    await this.figure.run(async () => {
      this.all = await jobsOf(here().user ?? "", this.context.signal());
      this.draw();
      return true;
    });
    if (!this.all.length && !this.figure.state.hasChildNodes()) this.figure.tell(this.none());
  }

  none() {
    const { who } = this.context;
    const user = here().user || who["job-user"];
    if (!user) return { title: "This token belongs to no user with jobs", text: "Type the name of a user above to see their jobs.", retry: false };
    return { title: `No jobs of ${user} are known`, text: "A job appears when it has started, and stays as long as its data. " +
      "If none ever appears, no job source is configured: an administrator sets auth.jobs.", retry: true };
  }

  draw() {
    const wanted = this.filter.value.toLowerCase();
    const some = this.all.filter((j) => [String(j.jobId), j.user, j.project, j.cluster, ...j.hosts].some((t) => t.toLowerCase().includes(wanted)));
    const heads = ["Job", "Cluster", "Nodes", "Start", "Duration", "Project", "User"];
    fill(this.figure.body, this.all.length > 0 && el("div", { class: "scroll" }, el("table", { class: "list" },
      el("thead", {}, el("tr", {}, ...heads.map((h) => el("th", { scope: "col" }, h)))),
      el("tbody", {}, ...some.slice(0, shown).map((j) => el("tr", {},
        el("th", { scope: "row" }, el("a", { href: linkToJob(j) }, j.jobId), j.running && el("span", { class: "badge" }, "running")),
        el("td", {}, j.cluster),
        el("td", { title: j.hosts.slice(0, 50).join(", ") }, j.hosts.length > 1 ? count(j.hosts.length) : j.hosts[0] ?? ""),
        el("td", {}, fullTime(j.from).slice(0, 16)), el("td", {}, duration(j.to - j.from)), el("td", {}, j.project), el("td", {}, j.user)))))),
    some.length > shown && el("p", { class: "hint" }, `${some.length - shown} older jobs are not listed; filter for them.`));
  }
}
