// The token: from the fragment of the address or pasted, kept for this tab only.

const key = "ringstore-token";
const prefix = "#token=";

/**
 * Takes a token out of the fragment, if it has one, and removes it from the address and from the
 * history at once.
 * @returns {boolean} whether there was one
 */
export function takeFromAddress() {
  if (!location.hash.startsWith(prefix)) return false;
  const text = location.hash.slice(prefix.length);
  history.replaceState(history.state, "", location.pathname + location.search);
  let token = text;
  try {
    token = decodeURIComponent(text);
  } catch {
    // A token has no percent signs; the server says what is wrong with this one.
  }
  setToken(token);
  return true;
}

/** @returns {string} empty if there is none */
export function token() {
  return sessionStorage.getItem(key) ?? "";
}

/** @param {string} text a token, also with "Bearer" before it and spaces around it */
export function setToken(text) {
  sessionStorage.setItem(key, text.trim().replace(/^bearer\s+/i, ""));
}

export function forget() {
  sessionStorage.removeItem(key);
}
