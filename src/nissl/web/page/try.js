// A text, read live: what units do at each of its tokens, and what each layer would say.

const reading = { found: null, unit: 0, pattern: null, loaded: false, stop: null, heads: null, looking: { stop: null } };
const MOST_CHARACTERS = 20000, TOKENS_READ = 512, ABOUT = 4; // characters; tokens; characters a token, in English

// Ask the live model; what is asked later gives up what was asked before.
function posted(path, body, asker) {
  if (asker.stop) asker.stop.abort();
  asker.stop = new AbortController();
  return { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal: asker.stop.signal };
}

const quoted = (token) => `“${visible(token).trim() || visible(token)}”`;
const waitingFor = (what) => (reading.loaded ? `${what} …` : `Loading ${data.live.model}; then ${what.toLowerCase()} …`);

function liveSection(id, title, say, ...content) {
  return el("section", { id, class: "live", "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title),
    el("p", { class: "say", id: `${id}-say`, role: "status" }, data.live.missing || `${say} ${data.live.note}`), data.live.missing ? null : content);
}

// What is too long is said before it is sent; how many tokens it has is a guess.
function lengthSay(text) {
  if (text.length > MOST_CHARACTERS) return `${text.length.toLocaleString("en")} characters: at most ${MOST_CHARACTERS.toLocaleString("en")} can be sent.`;
  const about = Math.round(text.length / ABOUT);
  return about > TOKENS_READ * 0.8 ? `About ${about.toLocaleString("en")} tokens, if they are words of English: at most ${TOKENS_READ} are read.` : "";
}

function sayLength(input, say, button) {
  const draw = () => {
    say.textContent = lengthSay(input.value);
    button.disabled = input.value.length > MOST_CHARACTERS;
  };
  input.addEventListener("input", draw);
  draw();
}

function trySection() {
  const number = (id, label) => el("label", {}, `${label} `, el("input", { id, type: "number", min: 0, value: view.get(id) || 0, onchange: (event) => { keep(id, event.target.value, 0); attend(); drawHeads(); } }));
  const select = (id, first, options) => el("select", { id, onchange: (event) => { keep(id, event.target.value, first); again(); } }, options.map(([value, label]) => el("option", { value }, label)));
  return liveSection("try", "Try a text", "Which units fire on each token, beyond what they do in the atlas, and what each layer would say next.",
    el("form", { onsubmit: (event) => { event.preventDefault(); ["at", "here"].forEach((name) => keep(name, "")); readText(); } },
      el("textarea", { id: "try-text", rows: 3, "aria-label": "Text to read", "aria-describedby": "try-length", spellcheck: "false", placeholder: "The capital of France is" }, view.get("try") || ""),
      el("div", { class: "controls" }, el("button", { class: "go", id: "try-go" }, "Read it"), el("small", { id: "try-length", role: "status" }))),
    el("div", { id: "try-found", hidden: "" },
      el("p", { class: "passage", id: "try-tokens", role: "group", "aria-label": "Tokens; arrows go from one to the next", onkeydown: stepToken }),
      el("div", { class: "controls" }, el("label", {}, "shade by ", el("select", { id: "shade", onchange: (event) => { keep("shade", event.target.value, "unit"); attend(); } },
        el("option", { value: "unit" }, "a unit's activity"), el("option", { value: "head" }, "a head's attention"))),
      el("span", { id: "which-head", hidden: "" }, number("layer", "layer"), number("head", "head"), el("button", { type: "button", id: "touch-head", onclick: () => intoBasket(`blocks.${byId("layer").value}.attn.z[head ${byId("head").value}]`) }, "touch this head")), el("span", { id: "shade-say" })),
      headsPart(),
      el("div", { class: "controls" }, el("label", {}, "list ", select("units", "", [["", "the farthest"], ["basket", "those in the basket"]])),
        el("label", { id: "which-of", hidden: "" }, "of ", select("of", "", [["", "the atlas"], ["features", "the dictionary"]])),
        el("button", { type: "button", id: "anywhere", hidden: "", onclick: () => { keep("here", ""); again(); } }, "anywhere in the text")),
      el("div", { class: "two" },
        el("div", {}, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Units" }, el("table", { class: "table", id: "fired" }, el("thead"), el("tbody"))), el("div", { id: "feature", role: "status" })),
        el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Logit lens" }, el("h3", { id: "lens-say" }), el("table", { class: "table", id: "lens" }, el("tbody"))))));
}

// What is asked of the text: all of it stands in the address.
function tryQuestion(text, position) {
  const which = view.get("units") || "", body = { text, position, here: view.get("here") === "1", features: view.get("of") === "features" };
  const own = touching.basket.map((edit) => edit.unit).filter((unit) => rowOf(unit) >= 0 || /\.(sae|transcoder)\[\d+\]$/.test(unit));
  if (which === "basket" && own.length) return { ...body, units: own };
  return which.startsWith("set ") ? { ...body, set: which.slice(4) } : body;
}

async function readText() {
  const text = byId("try-text").value, say = byId("try-say"), at = view.get("at");
  keep("try", text.trim() ? text : "");
  if (!text.trim()) return emptied();
  if (text.length > MOST_CHARACTERS) return;
  say.textContent = waitingFor("Reading");
  try {
    takeFound(await asked("api/try", posted("try", tryQuestion(text, at === null ? -1 : Number(at)), reading)), text);
    byId("try-found").hidden = false;
    drawReading();
    await attend();
  } catch (error) {
    if (error.name !== "AbortError") say.textContent = error.message;
  }
}

// Nothing is left of a text that was taken away.
function emptied() {
  if (reading.stop) reading.stop.abort();
  ["at", "here", "unit"].forEach((name) => keep(name, ""));
  Object.assign(reading, { found: null, pattern: null, heads: null });
  byId("try-found").hidden = true;
  byId("try-say").textContent = "There is no text: write some.";
}

function takeFound(found, text) {
  Object.assign(reading, { found, text, loaded: true, heads: reading.text === text ? reading.heads : null });
  sortFired();
  reading.unit = Math.max(0, found.units.findIndex((u) => u.unit === view.get("unit")));
  const token = quoted(found.tokens[found.position]), here = view.get("here") === "1", features = view.get("of") === "features";
  const sets = view.get("units") ? "asked for" : features ? "that add most" : "farthest from their mean in the atlas";
  byId("try-say").textContent = `${plural(found.tokens.length, "token")}. ` + (!found.units.length && here && !found.position ? "The atlas leaves first tokens out: there is nothing to compare units with at this one. " :
    `Shown are the ${plural(found.units.length, features ? "feature" : "unit")} ${sets}${here ? ` at ${token}` : ""}. `) +
    (features ? "" : `Of ${units.n.toLocaleString("en")} units some are far in any text: “beyond” says how often the atlas saw each as far. `) + found.note;
  byId("anywhere").hidden = !here;
  byId("which-of").hidden = !found.features;
}

// The same text asked for other units.
async function again() {
  const { text, found } = reading;
  if (!found) return;
  try {
    takeFound(await asked("api/try", posted("try", tryQuestion(text, found.position), reading)), text);
    drawReading();
  } catch (error) {
    if (error.name !== "AbortError") byId("try-say").textContent = error.message;
  }
}

const FIRED = [["unit", "", (unit) => unit.unit],
  ["sd", "standard deviations from its mean in the atlas, where it is farthest", (unit) => figure(unit.z), (unit) => -Math.abs(unit.z)],
  ["beyond", "how many of the atlas's samples are as far on this side", beyond, (unit) => (unit.beyond === null ? 2 : unit.beyond)],
  ["adds", "length of what it adds, of the length of what its site holds there", (unit) => percent(unit.size), (unit) => -unit.size],
  ["on", "at how many tokens of this text it is not zero; the atlas has not seen it", (unit) => `${unit.on} of ${reading.found.tokens.length}`, (unit) => unit.on],
  ["at", "where that is", (unit) => chip(reading.found.tokens[unit.at]), (unit) => unit.at]];
const ofAtlas = (unit) => unit.row !== undefined;

function beyond({ beyond: share, of }) {
  if (share === null) return "–";
  return share < 0.01 ? `${Math.round(share * of) || "none"} of ${of.toLocaleString("en")}` : percent(share);
}

function columnsFired() {
  const own = reading.found.units.some(ofAtlas), other = reading.found.units.some((unit) => !ofAtlas(unit));
  return FIRED.filter(([name]) => (["sd", "beyond"].includes(name) ? own || !other : ["adds", "on"].includes(name) ? other : true));
}

function sortFired() {
  const column = FIRED.find(([name, , , key]) => key && name === view.get("by"));
  if (column) reading.found.units.sort((a, b) => (column[3](a) ?? 9) - (column[3](b) ?? 9) || 0);
}

function sortFiredBy(name) {
  const chosen = reading.found.units[reading.unit];
  keep("by", name, "sd");
  if (name === "sd") reading.found.units.sort((a, b) => Math.abs(b.z) - Math.abs(a.z));
  else sortFired();
  reading.unit = reading.found.units.indexOf(chosen);
  drawReading();
  [...byId("fired").tHead.querySelectorAll("button")].find((button) => button.textContent === name).focus();
}

function drawReading() {
  const { found } = reading, columns = columnsFired(), by = view.get("by") || "sd";
  byId("fired").tHead.replaceChildren(el("tr", {}, columns.map(([name, title, , key]) => el("th", { scope: "col", title, "aria-sort": key && name === by ? "ascending" : null },
    key ? el("button", { type: "button", class: "link", onclick: () => sortFiredBy(name) }, name) : name)), el("td"), el("td")));
  byId("fired").tBodies[0].replaceChildren(...found.units.map((unit, i) => el("tr", {},
    columns.map(([name, , shown_]) => el("td", {}, name === "unit" ? el("button", { class: "link", type: "button", onclick: () => (ofAtlas(unit) ? openUnit(unit.row) : openFeature(unit.unit)) }, unit.unit) :
      (["sd", "beyond"].includes(name) && !ofAtlas(unit)) || (["adds", "on"].includes(name) && ofAtlas(unit)) ? "" : shown_(unit))),
    el("td", {}, el("button", { type: "button", "aria-pressed": String(i === reading.unit), "aria-label": `Shade the text by ${unit.unit}`, onclick: () => shadeBy(i) }, "shade")),
    el("td", {}, el("button", { type: "button", "aria-label": `Touch ${unit.unit}`, onclick: () => intoBasket(unit.unit) }, "touch")))));
  byId("lens-say").textContent = found.unread || `After ${quoted(found.tokens[found.position])} each layer would say`;
  byId("lens").tBodies[0].replaceChildren(...found.lens.map(({ layer, words }) => el("tr", {}, el("th", { scope: "row" }, String(layer)),
    words.map(([word, p]) => el("td", {}, chip(word), ` ${percent(p)}`)))));
  drawTokens();
}

// A feature that the atlas has not seen: what its direction does to the logits is all that is known.
async function openFeature(unit) {
  const box = byId("feature"), logits = (list) => el("span", { class: "chips" }, list.map(([t, v]) => el("span", { title: figure(v) }, chip(t))));
  box.textContent = "Reading …";
  try {
    const told = await asked("api/feature", posted("feature", { unit }, {}));
    box.replaceChildren(el("h3", {}, unit), el("p", {}, "The atlas has not seen this feature: it has no mean and no examples. ",
      told.promoted.length ? ["Its direction raises the logits of ", logits(told.promoted), " and lowers those of ", logits(told.suppressed)] : "Its direction is not in the stream that the logits are read from."));
  } catch (error) {
    box.textContent = error.message;
  }
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

// A token is chosen: its lens, and the units that are far there.
async function goTo(i) {
  const { pattern, text } = reading;
  keep("at", i);
  keep("here", 1);
  reading.found.position = i;
  drawTokens(); // at once; the rest follows
  byId("try-tokens").children[i].focus();
  try {
    const found = await asked("api/try", posted("try", tryQuestion(text, i), reading));
    const focused = byId("try-tokens").contains(document.activeElement);
    takeFound(found, text);
    reading.pattern = pattern;
    drawReading();
    if (focused) byId("try-tokens").children[i].focus();
    await lookAtHeads();
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
  await lookAtHeads();
}

// The sets that were kept, once they are known.
function listSets() {
  const select = byId("units"), wanted = view.get("units") || "";
  select.replaceChildren(...[...select.options].slice(0, 2), ...Object.keys(kept.sets).map((name) => el("option", { value: `set ${name}` }, `the set ${name}`)));
  if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
}

function startTry() {
  if (data.live.missing) return;
  sayLength(byId("try-text"), byId("try-length"), byId("try-go"));
  byId("of").value = view.get("of") === "features" ? "features" : "";
  byId("every-head").open = view.get("heads") === "1";
  if (view.get("try")) readText();
}
