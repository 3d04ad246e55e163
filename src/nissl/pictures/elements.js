// Elements, and figures and texts as they are written everywhere.

// Elements are made, never parsed: no text of the data is ever read as HTML.
function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

function figure(x, digits = 3) {
  if (x === null || x === undefined || Number.isNaN(x)) return "–";
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size < 1e-3 || size >= 1e6) return x.toExponential(1).replace("e", " e");
  if (size >= 1000) return Number(x.toPrecision(4)).toLocaleString("en", { maximumFractionDigits: 0 });
  return String(Number(x.toPrecision(digits)));
}

function percent(share) {
  if (Number.isNaN(share)) return "–";
  const x = 100 * share, size = Math.abs(x);
  return `${size >= 10 || size < 0.005 ? Math.round(x) || 0 : size >= 0.1 ? x.toFixed(1) : x.toPrecision(1)}%`;
}

function shown(statistic, x) {
  return statistic.unit === "share" ? percent(x) : figure(x) + (Number.isNaN(x) || !statistic.unit ? "" : ` ${statistic.unit}`);
}

const plural = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;
const cutTo = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

function visible(token) {
  return token.replace(/\n/g, "⏎").replace(/\t/g, "⇥");
}

function chip(token) {
  return el("span", { class: "chip" }, visible(token).replace(/^ /, "·").replace(/ $/, "·") || "∅");
}
