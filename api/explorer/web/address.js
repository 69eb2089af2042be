// The address holds all that is shown, so that it can be shared; it never holds the token.

/** @typedef {Record<string, string>} Place parameters of the address; empty ones are left out */

/** @returns {Place} */
export function here() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/** @param {Place} place @returns {string} */
export function linkTo(place) {
  const q = new URLSearchParams(Object.entries(place).filter(([, v]) => v !== "" && v != null));
  return q.size ? `/?${q}` : "/";
}

/**
 * Goes to a place. With replace the browser's history gets no entry.
 * @param {Place} place
 * @param {boolean} [replace]
 */
export function go(place, replace = false) {
  const address = linkTo(place);
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
  dispatchEvent(new Event("placechange"));
}

/**
 * Goes to the current place with some parameters changed.
 * @param {Place} changes
 * @param {boolean} [replace]
 */
export function change(changes, replace = false) {
  go({ ...here(), ...changes }, replace);
}

/**
 * A place of another view, with the time range of this one.
 * @param {Place} place
 * @returns {Place}
 */
export function elsewhere(place) {
  const { from = "", to = "", refresh = "" } = here();
  return { ...place, from: place.from ?? from, to: place.to ?? to, refresh };
}

/** Listens for a new place. @param {() => void} changed */
export function onPlace(changed) {
  addEventListener("placechange", changed);
  addEventListener("popstate", changed);
}

/**
 * Makes a click on a link within the page go there without loading the page again.
 * @param {MouseEvent} event
 */
export function followLink(event) {
  if (event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const link = /** @type {Element} */ (event.target).closest("a[href^='/?'], a[href='/']");
  if (!link) return;
  event.preventDefault();
  go(Object.fromEntries(new URLSearchParams(new URL(/** @type {HTMLAnchorElement} */ (link).href).search)));
}
