// Elements. Texts become text nodes: nothing in the page is ever parsed as HTML.

/**
 * Creates an element. Attributes that begin with "on" are listeners, true and false set or leave
 * out an attribute, and null and undefined leave it out.
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node|string|number|null|undefined|false)} children
 * @returns {any} the element
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, String(value));
  }
  node.append(...shown(children));
  return node;
}

/**
 * Replaces the children of an element.
 * @param {Element} node
 * @param {...(Node|string|number|null|undefined|false)} children
 */
export function fill(node, ...children) {
  node.replaceChildren(...shown(children));
}

/** @param {any[]} children @returns {(Node|string)[]} */
function shown(children) {
  return children.filter((c) => c != null && c !== false).map((c) => (c instanceof Node ? c : String(c)));
}

/**
 * A selection list.
 * @param {string} label for people and screen readers
 * @param {{value: string, text?: string}[]} options
 * @param {string} value the selected one; it is added if it is none of the options
 * @param {(value: string) => void} changed
 * @returns {HTMLLabelElement}
 */
export function choice(label, options, value, changed) {
  const all = options.some((o) => o.value === value) || !value ? options : [{ value }, ...options];
  const select = el("select", { onchange: () => changed(select.value) },
    ...all.map((o) => el("option", { value: o.value, selected: o.value === value }, o.text ?? o.value)));
  return el("label", { class: "field" }, el("span", {}, label), select);
}

/**
 * Shows a short message for a moment.
 * @param {string} text
 */
export function toast(text) {
  const place = /** @type {HTMLElement} */ (document.getElementById("toast"));
  const message = el("p", {}, text);
  fill(place, message);
  setTimeout(() => message.remove(), 4000);
}
