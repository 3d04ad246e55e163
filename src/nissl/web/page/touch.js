// Units changed by hand: what the model says without and with that, side by side.

const touching = { basket: [], said: {}, stop: null };
const EDIT = /^(.+) (ablate|clamp|scale) (-?[\d.]+(?:e[+-]?\d+)?)$/;

function touchSection() {
  const side = (name) => el("figure", {}, el("figcaption", {}, name), el("p", { class: "passage", id: name, tabindex: "0", role: "region", "aria-label": `Generated ${name} the edits` }));
  return liveSection("touch", "Touch", "Ablate, clamp or scale units, and see what the model says without and with that.",
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Basket of edits" }, el("table", { class: "table", id: "basket" }, el("tbody"))),
    el("form", { onsubmit: (event) => { event.preventDefault(); if (byId("touch-unit").value.trim()) intoBasket(byId("touch-unit").value.trim()); byId("touch-unit").value = ""; } },
      el("div", { class: "controls" }, el("input", { id: "touch-unit", autocomplete: "off", spellcheck: "false", "aria-label": "Unit, head or layer to touch", placeholder: "blocks.3.mlp.neurons[812]" }), el("button", {}, "Add"))),
    el("form", { onsubmit: (event) => { event.preventDefault(); generateBoth(); } },
      el("textarea", { id: "prompt", rows: 2, "aria-label": "Prompt", spellcheck: "false", placeholder: "The capital of France is", onchange: (event) => keep("prompt", event.target.value.slice(0, 4000)) }, view.get("prompt") || ""),
      el("div", { class: "controls" }, el("label", {}, "tokens ", el("input", { id: "many", type: "number", min: 1, max: 200, value: view.get("many") || 40, onchange: (event) => keep("many", event.target.value, 40) })),
        el("button", { class: "go" }, "Generate"), el("button", { id: "stop", type: "button", disabled: "", onclick: () => touching.stop && touching.stop.abort() }, "Stop"),
        el("button", { id: "keep-edit", type: "button", onclick: keepEdit }, "keep as edit.json"))),
    el("div", { class: "two" }, side("without"), side("with")));
}

function intoBasket(unit) {
  if (!touching.basket.some((edit) => edit.unit === unit)) touching.basket.push({ unit, how: "ablate", value: 0 });
  drawBasket();
  byId("touch-say").textContent = `${unit} is in the basket.`;
}

// A slider as wide as what the unit did in the atlas, and as much again.
function reach(edit) {
  const row = rowOf(edit.unit), seen = ["min", "max"].map((name) => (row >= 0 && statisticOf[name] ? Math.abs(statisticOf[name].values[row]) : 5));
  return edit.how === "scale" ? 5 : Number((2 * Math.max(...seen)).toPrecision(2)) || 10;
}

function drawBasket() {
  keep("basket", touching.basket.map((edit) => `${edit.unit} ${edit.how} ${edit.value}`).join("\n"));
  byId("keep-edit").disabled = !touching.basket.length;
  byId("basket").tBodies[0].replaceChildren(...touching.basket.map((edit, i) => {
    const most = reach(edit), off = edit.how === "ablate" ? "" : null;
    const set = (event) => {
      edit.value = Number(event.target.value) || 0;
      for (const other of [slider, number]) if (other !== event.target) other.value = edit.value;
      keep("basket", touching.basket.map((e) => `${e.unit} ${e.how} ${e.value}`).join("\n"));
    };
    const slider = el("input", { type: "range", min: -most, max: most, step: most / 100, value: edit.value, disabled: off, "aria-label": `Value of ${edit.unit}`, oninput: set });
    const number = el("input", { type: "number", step: "any", value: edit.value, disabled: off, "aria-label": `Value of ${edit.unit}, as a number`, onchange: set });
    const how = el("select", { "aria-label": `What is done to ${edit.unit}`, onchange: (event) => {
      Object.assign(edit, { how: event.target.value, value: event.target.value === "scale" ? 1 : 0 });
      drawBasket();
      byId("basket").rows[i].querySelector("select").focus();
    } }, ["ablate", "clamp", "scale"].map((name) => el("option", { selected: name === edit.how ? "" : null }, name)));
    const remove = el("button", { type: "button", "aria-label": `Take ${edit.unit} out of the basket`, onclick: () => { touching.basket.splice(i, 1); drawBasket(); byId("touch-unit").focus(); } }, "×");
    return el("tr", {}, el("td", {}, rowOf(edit.unit) >= 0 ? el("button", { class: "link", type: "button", onclick: () => openUnit(rowOf(edit.unit)) }, edit.unit) : edit.unit), [how, slider, number, remove].map((x) => el("td", {}, x)));
  }));
}

async function generateBoth() {
  const say = byId("touch-say"), prompt = byId("prompt").value;
  keep("prompt", prompt.slice(0, 4000));
  touching.said = { without: "", with: "" };
  drawSides();
  say.textContent = waitingFor("Generating");
  const options = posted("touch", { prompt, edits: touching.basket, n: Number(byId("many").value) }, touching), mine = touching.stop;
  byId("stop").disabled = false;
  try {
    const answer = await fetch("api/touch", options);
    if (!answer.ok) throw new Error((await answer.json()).error);
    const read = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let part = await read.read(); !part.done; part = await read.read()) {
      const lines = (rest + part.value).split("\n");
      rest = lines.pop();
      for (const line of lines) Object.assign(touching.said, JSON.parse(line));
      reading.loaded = true;
      drawSides();
      if (touching.said.error) throw new Error(touching.said.error);
      say.textContent = "Generating …";
    }
    say.textContent = !touching.basket.length ? "Generated without edits: the basket is empty." :
      touching.said.with === touching.said.without ? "The edits change nothing of what it says." : "What differs is marked. A change by as many units at random is what to compare it with.";
  } catch (error) {
    if (mine === touching.stop) say.textContent = mine.signal.aborted ? "Stopped." : error.message;
  }
  if (mine === touching.stop) byId("stop").disabled = true;
}

function drawSides() {
  const { without, with: edited } = touching.said;
  let same = 0;
  while (same < Math.min(without.length, edited.length) && without[same] === edited[same]) same++;
  for (const [id, text] of [["without", without], ["with", edited]])
    byId(id).replaceChildren(text.slice(0, edited ? same : undefined), edited ? el("mark", {}, text.slice(same)) : "");
}

async function keepEdit() {
  try {
    const edit = await asked("api/edit", posted("edit", { edits: touching.basket }, {}));
    const href = URL.createObjectURL(new Blob([JSON.stringify(edit, null, 1)], { type: "application/json" }));
    el("a", { href, download: "edit.json" }).click();
    URL.revokeObjectURL(href);
    byId("touch-say").textContent = "In Python: net.edit(nissl.network.load_edit(\"edit.json\")).";
  } catch (error) {
    byId("touch-say").textContent = error.message;
  }
}

function startTouch() {
  if (data.live.missing) return;
  touching.basket = (view.get("basket") || "").split("\n").map((line) => EDIT.exec(line)).filter(Boolean).map(([, unit, how, value]) => ({ unit, how, value: Number(value) }));
  drawBasket();
}
