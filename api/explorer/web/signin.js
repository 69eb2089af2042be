// Asks for a token.
import { el, fill } from "./dom.js";
import { setToken } from "./session.js";

/**
 * Shows the form. The address stays, so that one continues where one was.
 * @param {HTMLElement} root
 * @param {string} refused why the last token was not accepted; empty: there was none
 * @param {() => void} done
 */
export function signIn(root, refused, done) {
  const input = el("textarea", { rows: 4, required: true, spellcheck: "false", autocomplete: "off", "aria-describedby": "token-help", id: "token" });
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!input.value.trim()) return;
    setToken(input.value);
    done();
  };
  fill(root, el("section", { class: "signin" },
    el("h2", {}, refused ? "Sign in again" : "Sign in"),
    refused && el("p", { class: "refused", role: "alert" }, `The token was not accepted: ${refused}.`),
    el("form", { onsubmit: submit },
      el("label", { for: "token" }, "Token"), input,
      el("p", { id: "token-help", class: "hint" }, "A JWT from your site's issuer, for example the one that cc-backend or your identity provider " +
        "gives you. It stays in this tab and is sent to this server only."),
      el("button", { class: "primary" }, "Continue"))));
  input.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => e.key === "Enter" && submit(e));
  input.focus();
}
