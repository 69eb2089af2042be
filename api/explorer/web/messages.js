// What to tell about a failure, and what to do about it.
import { ApiError } from "./api.js";

/** @typedef {{title: string, text: string, retry: boolean}} Message */

/** @param {any} problem @returns {Message} */
export function messageOf(problem) {
  if (!(problem instanceof ApiError)) {
    return { title: "The page failed", text: `${problem?.message ?? problem}. Reload it; if that does not help, report this.`, retry: true };
  }
  const said = sentence(problem.message);
  switch (problem.status) {
    case 0:
      return { title: "The server does not answer", text: "It is down, or the network does not reach it.", retry: true };
    case 401:
      return { title: "Sign in again", text: said, retry: false };
    case 403:
      if (/job source/.test(problem.message)) return noJobSource;
      return { title: "Not permitted", text: `${said} Ask for a token with another role, or look at your own jobs.`, retry: false };
    case 404:
      return { title: "Not here", text: "This address of the server does not have it; a server may have an address of its own for its administrators.", retry: false };
    case 422:
      return { title: "Too much, or not a query that can be answered", text: said, retry: false };
    case 400:
      return { title: "The query is not understood", text: said, retry: false };
    case 503:
      return { title: "The server is busy or starting", text: `${said} Try again in a few seconds.`, retry: true };
    default:
      return { title: `The server answered ${problem.status}`, text: said, retry: true };
  }
}

/** @type {Message} */
export const noJobSource = {
  title: "No job source is configured",
  text: "Users see the metrics of their own jobs, and this server does not know whose jobs run where. " +
    "An administrator sets auth.jobs in its configuration.",
  retry: false,
};

/** @param {string} text */
function sentence(text) {
  return text ? `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}` : "";
}

/**
 * Why there may be nothing to see.
 * @param {string} what
 * @returns {Message}
 */
export function nothing(what) {
  return { title: `No ${what} in this time range`, text: "Choose a longer or an earlier range, or check that the collectors write.", retry: false };
}
