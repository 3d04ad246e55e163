// The frame of a picture: light or dark as the page around it, as high as the picture.

const filed = (d) => ({ source: d.files && ((s) => d.files[s]), tiny: d.tiny });
const scrolled = (label, node) => el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, node);
const titled = (d) => [el("h2", {}, d.title), el("p", { class: "why" }, d.says)];
const NAMED = {
  histogram: (d) => histogram(d.counts, d.edges, { wide: 420, tall: 90, labels: true, whole: d.whole }),
  text: (d) => places(d.places, d),
  raster: (d) => places(d.places),
  image: (d) => images(d.images, filed(d)),
  curve: (d, room) => tuningCurve(d, { room }),
  rate_map: (d) => rateMap(d),
  graph: (d) => scrolled(d.label || "Graph", graph(d.nodes, d.edges, d)),
  finding: (d, room) => [...titled(d), scores(d.rows, { room, score: d.score }), scrolled("Its rows", plainTable(d.columns, d.cells))],
  circuit: (d) => [...titled(d), NAMED.graph(d), scrolled("Its largest parts", plainTable(d.columns, d.cells))],
  atlas: (d, room) => [...titled(d), el("dl", { class: "facts" }, d.facts.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v)))),
    el("div", { class: "kinds-bar" }, kindsBar(d.kinds)), el("ul", { class: "legend" }, kindsLegend(d.kinds)),
    kindsStack(d.groups, d.kinds.map((k) => k.name), { wide: room, row: Math.max(12, Math.min(24, 300 / d.groups.length)), left: Math.min(150, 14 + 6.2 * Math.max(...d.groups.map((g) => g.short.length))) }), el("p", { class: "why" }, d.note)],
  unit: (d, room) => [el("h2", {}, d.name), reason(d), el("div", { class: "grid" }, summary(d), detail(d, { room: room > 760 ? room - 304 : room, ...filed(d) }))],
};

function themeAround() {
  const { body, documentElement } = parent.document, said = body.dataset;
  const name = said.mdColorScheme || said.vscodeThemeKind || (said.jpThemeLight && (said.jpThemeLight === "true" ? "light" : "dark")) || documentElement.dataset.theme;
  return (name ? /slate|dark|contrast$/.test(name) : matchMedia("(prefers-color-scheme: dark)").matches) ? "dark" : "light";
}

const [named, told] = JSON.parse(document.getElementById("data").textContent);
let drawnAs = "";

function drawFrame() {
  const as = `${themeAround()} ${innerWidth}`;
  if (as === drawnAs) return;
  drawnAs = as;
  document.documentElement.dataset.theme = themeAround();
  document.querySelector("main").replaceChildren(...[NAMED[named](told, innerWidth - 36)].flat());
}

// Where a frame may not look at the page around it, it has no height, and what stands before it is read.
const before = frameElement.previousElementSibling, around = new MutationObserver(drawFrame);
drawFrame();
new ResizeObserver(() => { frameElement.style.height = `${Math.ceil(document.body.getBoundingClientRect().height)}px`; }).observe(document.body);
before.style.display = "none";
window.addEventListener("resize", drawFrame);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawFrame);
for (const node of [parent.document.body, parent.document.documentElement]) around.observe(node, { attributes: true });
