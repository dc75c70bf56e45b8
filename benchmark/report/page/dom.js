// Functions that create elements and format numbers. Elements are made of attributes and text
// nodes, so text from users is never parsed as HTML.

function element(namespace, tag, attributes, children) {
  const node = namespace ? document.createElementNS(namespace, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(
    ...children
      .flat(Infinity)
      .filter((child) => child !== null && child !== undefined && child !== false),
  );
  return node;
}

const h = (tag, attributes, ...children) => element("", tag, attributes, children);
const svg = (tag, attributes, ...children) =>
  element("http://www.w3.org/2000/svg", tag, attributes, children);
const byId = (id) => document.getElementById(id);
// Text from users. Its writing direction does not affect the text around it.
const isolate = (text, attributes) => h("bdi", attributes, String(text));

const MINUS = "\u2212";
const useMinusSign = (text) =>
  Number(text) === 0 ? text.replace("-", "") : text.replace("-", MINUS);
const formatPercent = (value) => useMinusSign(value.toFixed(2));
const formatWhole = (value) => useMinusSign(value.toFixed(0));
const formatSigned = (value) => (Number(value.toFixed(2)) > 0 ? "+" : "") + formatPercent(value);
const formatCount = (count, word) =>
  `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function formatDuration(seconds) {
  if (seconds < 100) return `${seconds.toPrecision(2)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// The markers of the plots by their matplotlib names, drawn in a box of 12 by 12.
const MARKER_PATHS = {
  o: "M6 1.6a4.4 4.4 0 1 0 .01 0z",
  s: "M2 2h8v8h-8z",
  "^": "M6 1.2l5 9.2h-10z",
  v: "M6 10.8l-5-9.2h10z",
  "<": "M1.2 6l9.2-5v10z",
  ">": "M10.8 6l-9.2-5v10z",
  D: "M6 .6l5.4 5.4-5.4 5.4-5.4-5.4z",
  d: "M6 .4l3.4 5.6-3.4 5.6-3.4-5.6z",
  X: "M3.6 1L6 3.4 8.4 1 11 3.6 8.6 6 11 8.4 8.4 11 6 8.6 3.6 11 1 8.4 3.4 6 1 3.6z",
  P: "M4.3 1h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3v-3.4h3.3z",
  p: "M6 1l5 3.7-1.9 5.8h-6.2l-1.9-5.8z",
  h: "M6 .8l4.6 2.6v5.2l-4.6 2.6-4.6-2.6v-5.2z",
  H: "M.8 6l2.6-4.6h5.2l2.6 4.6-2.6 4.6h-5.2z",
  "*": "M6 .6l1.4 3.7 4 .2-3.1 2.5 1 3.9-3.3-2.2-3.3 2.2 1-3.9-3.1-2.5 4-.2z",
};

const marker = (style) =>
  style
    ? svg(
        "svg",
        { class: "marker tone", viewBox: "0 0 12 12", "aria-hidden": "true", "--c": style[0] },
        svg("path", { d: MARKER_PATHS[style[1]] ?? MARKER_PATHS.o }),
      )
    : null;
