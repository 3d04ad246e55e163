// A text, read live: what units do at each of its tokens, and what each layer would say.

const reading = { found: null, unit: 0, pattern: null, loaded: false, stop: null };

// Ask the live model; what is asked later gives up what was asked before.
function posted(path, body, asker) {
  if (asker.stop) asker.stop.abort();
  asker.stop = new AbortController();
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal: asker.stop.signal };
}

const waitingFor = (what) => (reading.loaded ? `${what} …` : `Loading ${data.live.model}; then ${what.toLowerCase()} …`);

function liveSection(id, title, say, ...content) {
  return el("section", { id, class: "live", "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title),
    el("p", { class: "say", id: `${id}-say`, role: "status" }, data.live.missing || say), data.live.missing ? null : content);
}

function trySection() {
  const number = (id, label) => el("label", {}, `${label} `, el("input", { id, type: "number", min: 0, value: view.get(id) || 0, onchange: (event) => { keep(id, event.target.value, 0); attend(); } }));
  return liveSection("try", "Try a text", "Which units fire on each token, beyond what they do in the atlas, and what each layer would say next.",
    el("form", { onsubmit: (event) => { event.preventDefault(); keep("at", ""); readText(); } },
      el("textarea", { id: "try-text", rows: 3, "aria-label": "Text to read", spellcheck: "false", placeholder: "The capital of France is" }, view.get("try") || ""),
      el("div", { class: "controls" }, el("button", { class: "go" }, "Read it"))),
    el("div", { id: "try-found", hidden: "" },
      el("p", { class: "passage", id: "try-tokens", role: "group", "aria-label": "Tokens; arrows go from one to the next", onkeydown: stepToken }),
      el("div", { class: "controls" }, el("label", {}, "shade by ", el("select", { id: "shade", onchange: (event) => { keep("shade", event.target.value, "unit"); attend(); } },
        el("option", { value: "unit" }, "a unit's activity"), el("option", { value: "head" }, "a head's attention"))),
      el("span", { id: "which-head", hidden: "" }, number("layer", "layer"), number("head", "head")), el("span", { id: "shade-say" })),
      el("div", { class: "two" },
        el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Units" }, el("table", { class: "table", id: "fired" }, el("thead", {}, el("tr", {}, [["unit"], ["sd", "standard deviations from its mean in the atlas, where it is farthest"], ["extreme", "that activity, of the farthest the atlas saw on its side"], ["at"], [], []].map(([h, title]) => (h ? el("th", { scope: "col", title }, h) : el("td"))))), el("tbody"))),
        el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Logit lens" }, el("h3", { id: "lens-say" }), el("table", { class: "table", id: "lens" }, el("tbody"))))));
}

async function readText() {
  const text = byId("try-text").value, say = byId("try-say");
  keep("try", text.length < 4000 ? text : ""); // an address has its limits
  say.textContent = waitingFor("Reading");
  try {
    const at = view.get("at");
    reading.found = await asked("api/try", posted("try", { text, position: at === null ? -1 : Number(at) }, reading));
    reading.loaded = true;
    reading.text = text;
    reading.unit = Math.max(0, reading.found.units.findIndex((u) => u.unit === view.get("unit")));
    say.textContent = `${plural(reading.found.tokens.length, "token")}. Shown are the ${reading.found.units.length} units farthest from their mean in the atlas, in its standard deviations. ` +
      `Of ${units.n.toLocaleString("en")} units some are far in any text: compare with how far each went in the atlas. ${reading.found.note}`;
    byId("try-found").hidden = false;
    drawReading();
    await attend();
  } catch (error) {
    if (error.name !== "AbortError") say.textContent = error.message;
  }
}

// How far that is of the farthest that the atlas saw on this side.
function extreme({ row, z, at, activity }) {
  const seen = statisticOf[z < 0 ? "min" : "max"];
  return seen && seen.values[row] * activity[at] > 0 ? percent(activity[at] / seen.values[row]) : "–";
}

function drawReading() {
  const { found } = reading;
  byId("fired").tBodies[0].replaceChildren(...found.units.map((unit, i) => el("tr", {},
    el("td", {}, el("button", { class: "link", type: "button", onclick: () => openUnit(unit.row) }, unit.unit)),
    el("td", {}, figure(unit.z)), el("td", {}, extreme(unit)), el("td", {}, chip(found.tokens[unit.at])),
    el("td", {}, el("button", { type: "button", "aria-pressed": String(i === reading.unit), "aria-label": `Shade the text by ${unit.unit}`, onclick: () => shadeBy(i) }, "shade")),
    el("td", {}, el("button", { type: "button", "aria-label": `Touch ${unit.unit}`, onclick: () => intoBasket(unit.unit) }, "touch")))));
  byId("lens-say").textContent = found.unread || `After “${visible(found.tokens[found.position])}” each layer would say`;
  byId("lens").tBodies[0].replaceChildren(...found.lens.map(({ layer, words }) => el("tr", {}, el("th", { scope: "row" }, String(layer)),
    words.map(([word, p]) => el("td", {}, chip(word), ` ${percent(p)}`)))));
  drawTokens();
}

// The text shaded by a unit's activity, or by what the chosen token attends to.
function drawTokens() {
  const { found, pattern } = reading, unit = found.units[reading.unit];
  const values = pattern ? pattern[found.position] : unit ? unit.activity : [];
  const most = pattern ? 1 : Math.max(1e-9, ...values.map((a) => Math.abs(a || 0)));
  byId("which-head").hidden = !view.get("shade");
  byId("shade-say").textContent = pattern ? "where the chosen token looks" : unit ? `${unit.unit}, at most ${figure(most)}` : "";
  byId("try-tokens").replaceChildren(...found.tokens.map((token, i) => {
    const a = (values[i] || 0) / most;
    return el("button", { type: "button", tabindex: i === found.position ? 0 : -1, "aria-pressed": String(i === found.position), title: figure(values[i]), onclick: () => goTo(i),
      style: shade(a) }, visible(token) || " ");
  }));
}

function shadeBy(i) {
  reading.unit = i;
  reading.pattern = null;
  byId("shade").value = "unit";
  keep("shade", "");
  keep("unit", reading.found.units[i].unit);
  drawReading();
  byId("fired").tBodies[0].rows[i].querySelector("[aria-pressed]").focus();
}

async function goTo(i) {
  const { pattern, text } = reading;
  keep("at", i);
  reading.found.position = i;
  drawTokens(); // at once; the lens follows
  byId("try-tokens").children[i].focus();
  try {
    const found = await asked("api/try", posted("try", { text, position: i }, reading));
    const focused = byId("try-tokens").contains(document.activeElement);
    Object.assign(reading, { found, pattern });
    drawReading();
    if (focused) byId("try-tokens").children[i].focus();
  } catch (error) {
    if (error.name !== "AbortError") byId("try-say").textContent = error.message;
  }
}

function stepToken(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key], to = reading.found.position + step;
  if (!step || to < 0 || to >= reading.found.tokens.length) return;
  event.preventDefault();
  goTo(to);
}

async function attend() {
  const heads = view.get("shade") === "head";
  byId("shade").value = heads ? "head" : "unit";
  reading.pattern = null;
  try {
    if (heads) reading.pattern = (await asked("api/attention", posted("attention", { text: reading.text, layer: Number(byId("layer").value), head: Number(byId("head").value) }, reading))).pattern;
    drawTokens();
  } catch (error) {
    if (error.name === "AbortError") return;
    drawTokens();
    byId("shade-say").textContent = error.message;
  }
}

function startTry() {
  if (!data.live.missing && view.get("try")) readText();
}
