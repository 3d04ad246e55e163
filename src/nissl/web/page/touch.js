// Units, heads and saved directions changed by hand: what the model says without and with that, and beside random changes.

const touching = { basket: [], saved: [], said: {}, stop: null };
const EDIT = /^(.+) (ablate|clamp|scale|strength) (-?[\d.]+(?:e[+-]?\d+)?)$/;
const SIDES = { without: "without", with: "with", random: "with random ones" };
const LONGEST_ADDRESS = 300; // characters of an address
const isSaved = (unit) => unit.startsWith("edits/");

function touchSection() {
  const side = ([id, name]) => el("figure", { id: `${id}-side`, hidden: id === "random" && view.get("random") === "0" ? "" : null }, el("figcaption", {}, name, id === "random" ? el("small", { id: "which" }) : null), el("p", { class: "passage", id, tabindex: "0", role: "region", "aria-label": `Generated ${name}` }));
  const number = (id, first, least, most) => el("input", { id, type: "number", min: least, max: most, value: view.get(id) || first, onchange: (event) => keep(id, event.target.value, first) });
  return liveSection("touch", "Touch", "Ablate, clamp or scale units and heads, or steer by a saved direction, and see what the model says without and with that, and with as much changed at random.",
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Basket of edits" }, el("table", { class: "table", id: "basket" }, el("tbody"))),
    el("form", { onsubmit: (event) => { event.preventDefault(); if (byId("touch-unit").value.trim()) intoBasket(byId("touch-unit").value.trim()); byId("touch-unit").value = ""; } },
      el("div", { class: "controls" }, el("input", { id: "touch-unit", autocomplete: "off", spellcheck: "false", "aria-label": "Unit, head or layer to touch", placeholder: "blocks.3.mlp.neurons[812]" }), el("button", {}, "Add"),
        el("select", { id: "saved", hidden: "", "aria-label": "Saved edits", onchange: (event) => { intoBasket(event.target.value); event.target.value = ""; } }))),
    el("form", { onsubmit: (event) => { event.preventDefault(); generateBoth(); } },
      el("textarea", { id: "prompt", rows: 2, "aria-label": "Prompt", "aria-describedby": "prompt-length", spellcheck: "false", placeholder: "The capital of France is", onchange: (event) => keep("prompt", event.target.value) }, view.get("prompt") || ""),
      el("div", { class: "controls" }, el("label", {}, "tokens ", number("many", 40, 1, 200)),
        el("label", {}, el("input", { id: "random-too", type: "checkbox", checked: view.get("random") === "0" ? null : "", onchange: (event) => { keep("random", event.target.checked ? 1 : 0, 1); byId("random-side").hidden = !event.target.checked; } }), " beside random edits"),
        el("label", {}, "seed ", number("seed", 0, 0, 2147483647)),
        el("button", { class: "go", id: "touch-go" }, "Generate"), el("button", { id: "stop", type: "button", disabled: "", onclick: () => touching.stop && touching.stop.abort() }, "Stop"), el("small", { id: "prompt-length", role: "status" }))),
    el("form", { onsubmit: (event) => { event.preventDefault(); keepEdit(byId("edit-name").value.trim()); } },
      el("div", { class: "controls" }, el("button", { id: "keep-edit", type: "button", onclick: () => keepEdit("") }, "keep as edit.json"),
        el("input", { id: "edit-name", autocomplete: "off", maxlength: 100, "aria-label": "Name under which the edits are kept in the atlas", placeholder: "or a name in the atlas" }), el("button", { id: "keep-named" }, "keep"))),
    el("div", { class: "sides" }, Object.entries(SIDES).map(side)),
    el("div", { id: "effect" }));
}

// An edit may be of several units: a group of a circuit.
function shortly(unit) {
  const all = unit.split(", ");
  return all.length > 1 ? `${all[0]} and ${all.length - 1} more` : unit;
}

function intoBasket(unit) {
  if (unit.split(", ").some((one) => one.length > LONGEST_ADDRESS)) return void (byId("touch-say").textContent = "No unit, head or layer has so long an address.");
  if (!touching.basket.some((edit) => edit.unit === unit)) touching.basket.push(isSaved(unit) ? { unit, how: "strength", value: 1 } : { unit, how: "ablate", value: 0 });
  drawBasket();
  byId("touch-say").textContent = `In the basket: ${shortly(unit)}.`;
}

// A slider as wide as what the unit did in the atlas, and as much again.
function reach(edit) {
  const row = rowOf(edit.unit), seen = ["min", "max"].map((name) => (row >= 0 && statisticOf[name] ? Math.abs(statisticOf[name].values[row]) : 5));
  return edit.how === "strength" ? 4 : edit.how === "scale" ? 5 : Number((2 * Math.max(...seen)).toPrecision(2)) || 10;
}

const keepBasket = () => keep("basket", touching.basket.map((edit) => `${edit.unit} ${edit.how} ${edit.value}`).join("\n"));

function drawBasket() {
  keepBasket();
  byId("keep-edit").disabled = byId("keep-named").disabled = !touching.basket.length;
  byId("basket").tBodies[0].replaceChildren(...touching.basket.map((edit, i) => {
    const saved = isSaved(edit.unit), about = touching.saved.find((one) => one.name === edit.unit) || {};
    const most = reach(edit), off = edit.how === "ablate" || about.strength === false ? "" : null;
    const set = (event) => {
      edit.value = Number(event.target.value) || 0;
      for (const other of [slider, number]) if (other !== event.target) other.value = edit.value;
      keepBasket();
    };
    const slider = el("input", { type: "range", min: -most, max: most, step: most / 100, value: edit.value, disabled: off, "aria-label": `Value of ${shortly(edit.unit)}`, oninput: set });
    const number = el("input", { type: "number", step: "any", value: edit.value, disabled: off, "aria-label": `Value of ${shortly(edit.unit)}, as a number`, onchange: set });
    const how = saved ? el("span", { title: about.what }, "strength") : el("select", { "aria-label": `What is done to ${shortly(edit.unit)}`, onchange: (event) => {
      Object.assign(edit, { how: event.target.value, value: event.target.value === "scale" ? 1 : 0 });
      drawBasket();
      byId("basket").rows[i].querySelector("select").focus();
    } }, ["ablate", "clamp", "scale"].map((name) => el("option", { selected: name === edit.how ? "" : null }, name)));
    const remove = el("button", { type: "button", "aria-label": `Take ${shortly(edit.unit)} out of the basket`, onclick: () => { touching.basket.splice(i, 1); drawBasket(); byId("touch-unit").focus(); } }, "×");
    return el("tr", {}, el("td", { title: edit.unit }, rowOf(edit.unit) >= 0 ? el("button", { class: "link", type: "button", onclick: () => openUnit(rowOf(edit.unit)) }, edit.unit) : shortly(edit.unit), about.what ? el("small", {}, ` ${about.what}`) : null), [how, slider, number, remove].map((x) => el("td", {}, x)));
  }));
}

async function generateBoth() {
  const say = byId("touch-say"), prompt = byId("prompt").value;
  if (prompt.length > MOST_CHARACTERS) return;
  keep("prompt", prompt);
  touching.said = { without: "", with: "", random: "" };
  drawSides();
  drawEffect();
  say.textContent = waitingFor("Generating");
  const body = { prompt, edits: touching.basket, n: Number(byId("many").value), random: byId("random-too").checked, seed: Number(byId("seed").value) };
  const options = posted("touch", body, touching), mine = touching.stop;
  byId("stop").disabled = false;
  try {
    await eachLine("api/touch", options, (line) => {
      Object.assign(touching.said, line);
      reading.loaded = true;
      drawSides();
      say.textContent = touching.said.compared ? "Comparing with random edits …" : "Generating …";
    });
    drawEffect();
    say.textContent = endSay();
  } catch (error) {
    if (mine === touching.stop) say.textContent = mine.signal.aborted ? "Stopped." : error.message;
  }
  if (mine === touching.stop) byId("stop").disabled = true;
}

function endSay() {
  const { said, basket } = touching, { effect, unmatched } = said;
  if (!basket.length) return "Generated without edits: the basket is empty.";
  const text = said.with === said.without ? "The edits change nothing of what it says. " : "What differs is marked. ";
  if (unmatched) return `${text}There are no random edits to compare with: ${unmatched}.`;
  if (!effect) return `${text}A change by as much at random was not asked for.`;
  const n = effect.end.random.length, least = effect.end.p <= 1.01 / (n + 1);
  return `${text}At the prompt's end the edits move what comes next ${least ? "more than any" : "no more than some"} of ${plural(n, "random edit")}: p ${figure(effect.end.p, 2)}.`;
}

function drawSides() {
  const { said } = touching;
  byId("which").title = (said.which || []).join(", ");
  byId("which").textContent = said.which ? ` ${said.which.slice(0, 3).join(", ")}${said.which.length > 3 ? `, and ${said.which.length - 3} more` : ""}` : "";
  const same = (a, b) => { let i = 0; while (i < Math.min(a.length, b.length) && a[i] === b[i]) i++; return i; };
  for (const id of Object.keys(SIDES)) {
    const text = said[id] || "", other = id === "without" ? said.with : said.without, until = other && text ? same(text, other) : text.length;
    byId(id).replaceChildren(text.slice(0, until), el("mark", {}, text.slice(until)));
  }
}

// How far the edits move what is said next, beside random edits, each a point.
function drawEffect() {
  const { effect } = touching.said;
  if (!effect) return byId("effect").replaceChildren();
  const rows = [["at the prompt's end", effect.end], [`mean over the ${plural(effect.n_tokens, "token")} said without`, effect.mean]];
  const line = ([name, { own, random, p }]) => {
    const sorted = [...random].sort((a, b) => a - b), middle = (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
    return el("tr", {}, el("th", { scope: "row" }, name), [figure(own), figure(middle), `${figure(sorted[0])} to ${figure(sorted[sorted.length - 1])}`, figure(p, 2), strip(own, sorted)].map((x) => el("td", {}, x)));
  };
  byId("effect").replaceChildren(el("p", { class: "say" }, `How far the distribution of the next token moves, in nats (Kullback-Leibler divergence), beside ${plural(effect.end.random.length, "random edit")}: ${effect.against}. p is the rank among them.`),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Effect beside random edits" }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, ["", "the edits", "random: median", "from, to", "p", "each, logarithmic"].map((name) => (name ? el("th", { scope: "col" }, name) : el("td"))))), el("tbody", {}, rows.map(line)))));
}

function strip(own, random) {
  const all = [own, ...random].filter((x) => x > 0), low = Math.log(Math.min(...all)), high = Math.log(Math.max(...all));
  const at = (x) => 6 + (x > 0 && high > low ? (168 * (Math.log(x) - low)) / (high - low) : x > 0 ? 84 : 0);
  const point = (x, r, colour) => svg("circle", { cx: at(x).toFixed(1), cy: 9, r, fill: `var(${colour})`, "fill-opacity": r < 4 ? 0.5 : 1 });
  return svg("svg", { width: 180, height: 18, viewBox: "0 0 180 18", "aria-hidden": "true" }, svg("line", { x1: 6, x2: 174, y1: 9, y2: 9, stroke: "var(--line)" }), random.map((x) => point(x, 3, "--soft")), point(own, 4.5, "--accent"));
}

async function keepEdit(name) {
  const say = byId("touch-say");
  try {
    const edit = await asked("api/edit", posted("edit", { edits: touching.basket, name: name || null }, {}));
    if (name) {
      listSaved(edit.edits);
      say.textContent = `Kept in the atlas as ${edit.kept}; in Python: net.edit(nissl.network.load_edit("ATLAS/${edit.kept}")).`;
      return;
    }
    const href = URL.createObjectURL(new Blob([JSON.stringify(edit, null, 1)], { type: "application/json" }));
    el("a", { href, download: "edit.json" }).click();
    URL.revokeObjectURL(href);
    say.textContent = "In Python: net.edit(nissl.network.load_edit(\"edit.json\")).";
  } catch (error) {
    say.textContent = error.message;
  }
}

function listSaved(saved) {
  touching.saved = saved;
  byId("saved").hidden = !saved.length;
  byId("saved").replaceChildren(el("option", { value: "" }, "a saved edit …"), ...saved.map(({ name, what, error }) => el("option", { value: name, disabled: error ? "" : null, title: error || what }, error ? `${name}: ${error}` : name)));
  drawBasket();
}

function startTouch() {
  if (data.live.missing) return;
  sayLength(byId("prompt"), byId("prompt-length"), byId("touch-go"));
  touching.basket = (view.get("basket") || "").split("\n").map((line) => EDIT.exec(line)).filter(Boolean).map(([, unit, how, value]) => ({ unit, how, value: Number(value) }));
  drawBasket();
  asked("api/edits").then(({ edits }) => listSaved(edits), (error) => { byId("touch-say").textContent = error.message; });
}
