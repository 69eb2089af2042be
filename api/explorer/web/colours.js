// Colours of data. The ramp is even in OKLCH, where equal steps look equally large; it begins near
// the background of the page, so that high values stand out in light and in dark.

const modeKey = "ringstore-mode";

/** @returns {""|"light"|"dark"} what was chosen; empty: as the system has it */
export function chosenMode() {
  const mode = localStorage.getItem(modeKey);
  return mode === "light" || mode === "dark" ? mode : "";
}

/** @param {""|"light"|"dark"} mode */
export function chooseMode(mode) {
  if (mode) localStorage.setItem(modeKey, mode);
  else localStorage.removeItem(modeKey);
  applyMode();
}

export function applyMode() {
  document.documentElement.style.colorScheme = chosenMode() || "light dark";
  dispatchEvent(new Event("modechange"));
}

const systemDark = matchMedia("(prefers-color-scheme: dark)");
systemDark.addEventListener("change", () => dispatchEvent(new Event("modechange")));

export function isDark() {
  return chosenMode() ? chosenMode() === "dark" : systemDark.matches;
}

/** Colours of axes and texts on a canvas. */
export function ink() {
  return isDark()
    ? { text: "#98a2ad", strong: "#e6e9ec", grid: "#262c33", background: "#15191e" }
    : { text: "#626b76", strong: "#1a1f26", grid: "#ebedf0", background: "#ffffff" };
}

/**
 * A colour in sRGB. Where it cannot be shown, it is made greyer until it can, so that its lightness stays.
 * @param {number} l @param {number} c @param {number} h in degrees
 * @returns {[number, number, number]}
 */
function oklch(l, c, h) {
  for (let chroma = c; chroma > 0; chroma -= 0.004) {
    const linear = linearRGB(l, chroma, h);
    if (linear.every((v) => v > -0.0005 && v < 1.0005)) return encoded(linear);
  }
  return encoded(linearRGB(l, 0, h));
}

/** @param {number[]} linear @returns {[number, number, number]} */
function encoded(linear) {
  const [r, g, b] = linear.map((v) => {
    const u = Math.min(1, Math.max(0, v));
    return Math.round(255 * (u <= 0.0031308 ? 12.92 * u : 1.055 * u ** (1 / 2.4) - 0.055));
  });
  return [r, g, b];
}

/** From OKLCH, https://bottosson.github.io/posts/oklab/. @param {number} l @param {number} c @param {number} h */
function linearRGB(l, c, h) {
  const a = c * Math.cos(h * Math.PI / 180), b = c * Math.sin(h * Math.PI / 180);
  const x = (l + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const y = (l - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const z = (l - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    4.0767416621 * x - 3.3077115913 * y + 0.2309699292 * z,
    -1.2684380046 * x + 2.6097574011 * y - 0.3413193965 * z,
    -0.0041960863 * x - 0.7034186147 * y + 1.707614701 * z,
  ];
}

/** The ramp at a place from 0 (low) to 1 (high). @param {number} at */
function rampAt(at) {
  const hue = isDark() ? 285 - 190 * at : 105 + 180 * at;
  const lightness = isDark() ? 0.27 + 0.63 * at : 0.955 - 0.62 * at;
  const chroma = 0.05 + 0.09 * Math.sin(Math.PI * Math.min(1, 0.15 + at * 0.85));
  return oklch(lightness, chroma, hue);
}

/** The ramp in 256 steps, for the pixels of a canvas. */
export function rampPixels() {
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const [r, g, b] = rampAt(i / 255);
    return 0xff000000 | b << 16 | g << 8 | r;
  });
}

/** @param {number} at from 0 to 1 */
export function rampColour(at) {
  return `rgb(${rampAt(at).join(" ")})`;
}

const hues = [250, 45, 150, 330, 95, 200, 20, 290];

/**
 * The colours of lines: a few are told apart by hue, many are shaded in order.
 * @param {number} n
 */
export function lineColours(n) {
  const l = isDark() ? 0.75 : 0.56;
  if (n <= hues.length) return hues.slice(0, n).map((h) => `rgb(${oklch(l, 0.125, h).join(" ")})`);
  const from = isDark() ? 0.35 : 0.3;
  return Array.from({ length: n }, (_, i) => rampColour(from + (1 - from) * i / (n - 1)));
}
