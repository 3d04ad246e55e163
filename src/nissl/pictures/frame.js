// The frame of a picture: light or dark as the page around it, as high as the picture.

const filed = (d) => ({ source: d.files && ((s) => d.files[s]), tiny: d.tiny });
const scrolled = (label, node) => el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, node);
const titled = (d) => [el("h2", {}, d.title), el("p", { class: "why" }, d.says)];
const NAMED = {
  histogram: (d) => histogram(d.counts, d.edges, { wide: 420, tall: 90, labels: true, whole: d.whole }),
  text: (d) => places(d.places, d),
  places: (d) => places(d.places),
  image: (d) => images(d.images, filed(d)),
  curve: (d, room) => tuningCurve(d, { room }),
  rate_map: (d) => rateMap(d),
  raster: (d, room) => raster(d, { room }),
  graph: (d) => scrolled(d.label || "Graph", graph(d.nodes, d.edges, d)),
  finding: (d, room) => [...titled(d), scores(d.rows, { room, score: d.score }), scrolled("Its rows", plainTable(d.columns, d.cells))],
  circuit: (d) => [...titled(d), NAMED.graph(d), scrolled("Its largest parts", plainTable(d.columns, d.cells))],
  atlas: (d, room) => [...titled(d), el("dl", { class: "facts" }, d.facts.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v)))),
    el("div", { class: "kinds-bar" }, kindsBar(d.kinds)), el("ul", { class: "legend" }, kindsLegend(d.kinds)),
    kindsStack(d.groups, d.kinds.map((k) => k.name), { wide: room, row: Math.max(12, Math.min(24, 300 / d.groups.length)), left: Math.min(150, 14 + 6.2 * Math.max(...d.groups.map((g) => g.short.length))) }), el("p", { class: "why" }, d.note)],
  unit: (d, room) => [el("h2", {}, d.name), reason(d), el("div", { class: "grid" }, summary(d), detail(d, { room: room > 760 ? room - 304 : room, ...filed(d) }))],
};

const DARK = "(prefers-color-scheme: dark)", PAPER = 560; // pixels that a sheet has left beside what notebooks put there

// The page around is asked for its preference: the frame's own follows the colour scheme of its element.
function themeAround() {
  const { body, documentElement } = parent.document, said = body.dataset;
  const name = said.mdColorScheme || said.vscodeThemeKind || (said.jpThemeLight && (said.jpThemeLight === "true" ? "light" : "dark")) || documentElement.dataset.theme;
  return (name ? /slate|dark|contrast$/.test(name) : parent.matchMedia(DARK).matches) ? "dark" : "light";
}

const [named, told] = JSON.parse(document.getElementById("data").textContent), main = document.querySelector("main");
// Where a frame may not look at the page around it, or draws nothing, it has no height, and what stands before it is read.
const before = frameElement.previousElementSibling;
let drawnAs = "";

function drawFrame() {
  const theme = themeAround(), as = `${theme} ${innerWidth}`;
  if (!innerWidth || as === drawnAs) return; // a page that is not shown has no width
  drawnAs = as;
  document.documentElement.dataset.theme = theme;
  main.replaceChildren(...[NAMED[named](told, innerWidth - 36)].flat());
}

function fit() {
  if (!innerWidth || !drawnAs) return;
  frameElement.style.height = `${Math.ceil(main.getBoundingClientRect().height)}px`;
  before.style.display = "none";
}

// Printed, it is as narrow as a sheet: its height would else be that of the screen's width.
function onPaper(on) {
  frameElement.style.width = on ? `${Math.min(innerWidth, PAPER)}px` : "100%";
  drawFrame();
  fit();
}

drawFrame();
new ResizeObserver(fit).observe(main);
window.addEventListener("resize", drawFrame);
window.addEventListener("beforeprint", () => onPaper(true));
window.addEventListener("afterprint", () => onPaper(false));
parent.matchMedia(DARK).addEventListener("change", drawFrame);
const around = new MutationObserver(drawFrame);
for (const node of [parent.document.body, parent.document.documentElement]) around.observe(node, { attributes: true });
