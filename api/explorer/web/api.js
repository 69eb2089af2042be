// Requests to the API of RingStore. Nothing is ever changed: all of them are GETs or queries.
import { token } from "./session.js";

/** A request that failed. Status 0: the server was not reached. */
export class ApiError extends Error {
  /** @param {number} status @param {string} text of the server */
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

// At most this many requests run at once: the server lets a user run four queries.
const maxRunning = 3;
let running = 0;
/** @type {(() => void)[]} */
const waiting = [];

async function enter() {
  if (running >= maxRunning) await new Promise((go) => waiting.push(() => go(undefined)));
  running++;
}

function leave() {
  running--;
  waiting.shift()?.();
}

// An address that is longer goes into the body of a POST: servers and proxies limit headers.
const maxAddress = 2000;

/**
 * Asks for JSON.
 * @param {string} path
 * @param {[string, string][]} [parameters]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function ask(path, parameters = [], signal) {
  const form = new URLSearchParams(parameters);
  const address = form.size ? `${path}?${form}` : path;
  const long = address.length > maxAddress;
  /** @type {RequestInit} */
  const request = { method: long ? "POST" : "GET", headers: {}, signal, credentials: "omit", cache: "no-store" };
  if (long) request.body = form;
  if (token()) /** @type {any} */ (request.headers).Authorization = `Bearer ${token()}`;
  await enter();
  try {
    signal?.throwIfAborted();
    return await answer(await fetch(long ? path : address, request));
  } catch (problem) {
    if (problem instanceof TypeError) throw new ApiError(0, problem.message);
    throw problem;
  } finally {
    leave();
  }
}

/** @param {Response} response */
async function answer(response) {
  const text = await response.text();
  /** @type {any} */
  let body;
  try {
    body = JSON.parse(text);
  } catch {
    body = { error: text.slice(0, 300) };
  }
  if (!response.ok) throw new ApiError(response.status, body.error || response.statusText);
  return body;
}

/**
 * Asks Prometheus' API for its data.
 * @param {string} path below /api/v1/
 * @param {[string, string][]} [parameters]
 * @param {AbortSignal} [signal]
 * @returns {Promise<any>}
 */
export async function askPrometheus(path, parameters, signal) {
  return (await ask(`/api/v1/${path}`, parameters, signal)).data;
}

/** Whether a request was given up because its answer is no longer wanted. @param {any} problem */
export function isAborted(problem) {
  return problem?.name === "AbortError";
}
