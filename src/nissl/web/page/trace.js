// A circuit: drawn by layers, its nodes grouped and edited, a new one asked for of two prompts.

const METHODS = { "edges, EAP": 2, "edges, EAP-IG": 2, "heads and MLPs, RelP": 10, "heads and neurons, RelP": 0.5 };
const WRITTEN = ["clean", "contrast", "answer", "wrong"];
const tracing = { drawn: null, chosen: new Set(), asked: 0, stop: null };
const which = () => ({ name: view.get("circuit") || "", found: view.get("found") || "" });
const closedGroups = () => (view.get("closed") || "").split("\n").filter(Boolean);

function traceSection() {
  const live = !data.live.missing;
  return el("section", { id: "trace", class: "live", "aria-labelledby": "trace-title" }, el("h2", { id: "trace-title" }, "Trace a circuit"),
    el("p", { class: "say", id: "trace-say", role: "status" }, "The few nodes or edges that do most for an answer. Open one that is kept, or ask for a new one."),
    el("div", { class: "controls" }, el("select", { id: "circuit", "aria-label": "Circuit", onchange: (event) => openCircuit({ circuit: event.target.value }) }),
      el("span", { id: "trace-many", hidden: "" }, el("label", {}, "shown ", el("input", { id: "edges", type: "range", min: 1, step: 1, oninput: (event) => { keep("edges", event.target.value); clearTimeout(tracing.wait); tracing.wait = setTimeout(drawCircuit, 60); } })),
        " ", el("output", { id: "edges-say", for: "edges" })),
      el("span", { id: "closing", role: "group", "aria-label": "Groups that are one node" })),
    el("div", { id: "trace-found", hidden: "" },
      el("div", { class: "scroll trace-picture", id: "trace-picture", tabindex: "0", role: "region", "aria-label": "The circuit, layers upwards" }),
      el("p", { class: "say" }, el("span", { class: "supports" }, "supports the answer"), el("span", { class: "opposes" }, "works against it"), "Lines are as wide as their effects, in logits."),
      el("div", { class: "two" }, el("div", {}, el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table of the circuit" }, el("table", { class: "table", id: "trace-table" }, el("thead"), el("tbody"))),
        el("p", { class: "controls" }, el("a", { id: "trace-export", download: "circuit.csv" }, "export the whole circuit"))),
      el("div", {}, el("div", { id: "trace-node" }), el("div", { id: "trace-groups" }),
        live ? el("div", { class: "controls" }, el("button", { type: "button", id: "rest", onclick: touchRest }, "touch all but the circuit"), el("button", { type: "button", id: "against", onclick: testCircuit }, "against what?")) : null,
        el("p", { class: "say", id: "against-say", role: "status" })))),
    live ? askForm() : el("p", { class: "say" }, data.live.missing));
}

function askForm() {
  const field = (name, label, words, node = "input") => el("p", {}, el("label", { for: name }, label), el("small", { id: `${name}-words` }, words),
    filled(el(node, { id: name, rows: 2, autocomplete: "off", spellcheck: "false", "aria-describedby": `${name}-words`, value: node === "input" ? view.get(name) : null, onchange: (event) => keep(name, event.target.value.slice(0, 4000)) }), {}, node === "input" ? [] : [view.get(name) || ""]));
  const method = view.get("method") in METHODS ? view.get("method") : Object.keys(METHODS)[1];
  return el("form", { id: "ask", onsubmit: (event) => { event.preventDefault(); findCircuit(); } }, el("h3", {}, "Ask for a new one"),
    field("clean", "Prompt", "whose next token is to be explained", "textarea"),
    field("contrast", "Contrast", "the same prompt with the one thing changed that you ask about, in as many tokens: the circuit is of what differs. There is no default, since the question is yours.", "textarea"),
    el("div", { class: "two" }, field("answer", "Answer", "the likeliest next token if empty"), field("wrong", "Wrong answer", "the likeliest after the contrast if empty")),
    el("div", { class: "controls" }, el("button", { type: "button", onclick: takeText }, "take the text tried above"),
      el("label", {}, "made of ", el("select", { id: "method", onchange: (event) => { keep("method", event.target.value); byId("size").value = METHODS[event.target.value]; keep("size", ""); } },
        Object.keys(METHODS).map((name) => el("option", { selected: name === method ? "" : null }, name)))),
      el("label", {}, "largest ", el("input", { id: "size", type: "number", min: 0.01, max: 100, step: "any", value: view.get("size") || METHODS[method], onchange: (event) => keep("size", event.target.value, METHODS[byId("method").value]) }), " %"),
      el("button", { class: "go" }, "Find"), el("button", { type: "button", id: "trace-stop", disabled: "", onclick: () => tracing.stop && tracing.stop.abort() }, "Stop")),
    el("p", { class: "say", id: "ask-say", role: "status" }), el("div", { id: "prompts" }));
}

function takeText() {
  byId("clean").value = byId("try-text").value || byId("prompt").value;
  keep("clean", byId("clean").value.slice(0, 4000));
  byId("contrast").focus();
}

async function openCircuit({ circuit = "", found = "" }) {
  for (const [name, value] of Object.entries({ circuit, found, node: "", closed: "" })) keep(name, value);
  tracing.chosen.clear();
  byId("circuit").value = circuit;
  byId("trace-found").hidden = byId("trace-many").hidden = true;
  if (byId("against-say")) byId("against-say").textContent = "";
  if (circuit || found) await drawCircuit();
}

// What is shown is asked for again: the sums of groups are made where Python makes them too.
async function drawCircuit() {
  const mine = ++tracing.asked, say = byId("trace-say");
  try {
    const drawn = await asked(`api/circuit?${new URLSearchParams({ ...which(), most: view.get("edges") || 60, closed: closedGroups().join("\n") })}`);
    if (mine !== tracing.asked) return;
    tracing.drawn = drawn;
    say.textContent = `${drawn.name}: ${plural(drawn.n, drawn.kind.slice(0, -1))} of ${drawn.parts.toLocaleString("en")}${drawn.network === data.live.model ? "" : `, of ${drawn.network}: not the network of this atlas`}. ` +
      `${drawn.about.method ? "Found on one pair of prompts." : ""} ${drawn.groups_wrong}`;
    Object.assign(byId("edges"), { max: drawn.limit, value: drawn.most });
    byId("edges-say").textContent = `${drawn.most} ${drawn.kind}`;
    byId("trace-export").href = `api/circuit.csv?${new URLSearchParams(which())}`;
    byId("trace-found").hidden = byId("trace-many").hidden = false;
    if (!data.live.missing && drawn.about.prompt && !byId("clean").value) fillPair(drawn.about);
    drawPicture();
    drawTraceTable();
    drawGroups();
    drawNode();
  } catch (error) {
    if (mine === tracing.asked) say.textContent = error.message;
  }
}

function fillPair(about) {
  for (const [id, name] of Object.entries({ clean: "prompt", contrast: "contrast", answer: "answer", wrong: "wrong" })) {
    byId(id).value = about[name] || "";
    keep(id, byId(id).value.slice(0, 4000));
  }
}

const nodeButton = (id) => el("button", { class: "link", type: "button", title: id, onclick: () => openNode(id) }, labelOf(id));
const labelOf = (id) => (tracing.drawn.nodes.find((n) => n.id === id) || { label: id }).label;

function drawTraceTable() {
  const { edges, nodes, kind } = tracing.drawn, head = kind === "edges" ? ["from", "to", "effect"] : ["node", "layer", "effect"];
  const rows = kind === "edges" ? edges.map(([a, b, x]) => [nodeButton(a), nodeButton(b), figure(x)]) :
    [...nodes].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect)).map((n) => [nodeButton(n.id), figure(n.layer), figure(n.effect)]);
  byId("trace-table").tHead.replaceChildren(el("tr", {}, head.map((h) => el("th", { scope: "col" }, h))));
  byId("trace-table").tBodies[0].replaceChildren(...rows.map((row) => el("tr", {}, row.map((x) => el("td", {}, x)))));
}

function drawPicture() {
  const { nodes, edges, kind, name } = tracing.drawn, held = byId("trace-picture").contains(document.activeElement);
  const rows = Object.fromEntries(nodes.map((n) => [n.layer, n.layer === -1 ? "" : n.id === "logits" ? "" : n.layer]));
  byId("trace-picture").replaceChildren(graph(nodes.map((n) => ({ name: n.id, label: n.group ? n.label : n.label.replace(/^\d+ /, ""), layer: n.layer, position: Number(!n.id.endsWith("mlp.out")), effect: n.effect })),
    edges.map(([from, to, effect]) => ({ from, to, effect })), { onopen: (box) => openNode(box.name), chosen: view.get("node"), label: `Circuit of ${name}, ${kind}`, layers: rows, most: edges.length || 1 }));
  if (held) byId("trace-picture").querySelector("[tabindex='0']").focus();
}

function openNode(id) {
  keep("node", id);
  drawPicture();
  drawNode();
}

function chooseNode(id) {
  if (!tracing.chosen.delete(id)) tracing.chosen.add(id);
  drawNode();
  drawGroups();
}

// What is known of a node: its strongest edges, its group, and where to look further.
function drawNode() {
  const id = view.get("node"), drawn = tracing.drawn, node = drawn.nodes.find((n) => n.id === id);
  if (!node) return byId("trace-node").replaceChildren(el("p", { class: "none" }, id ? `${id} is not among what is shown.` : "Open a node of the picture or the table."));
  const ends = (from, at) => drawn.edges.filter((e) => e[from] === id).slice(0, 6).map((e) => el("tr", {}, el("th", { scope: "row" }, from ? "from " : "to ", nodeButton(e[at])), el("td", {}, figure(e[2]))));
  const row = rowOf(id), head = /^blocks\.(\d+)\.attn\.z\[head (\d+)\]$/.exec(id), mlp = /^(blocks\.\d+\.mlp)\.out$/.exec(id), live = !data.live.missing;
  const button = (text, onclick, pressed = null) => el("button", { type: "button", "aria-pressed": pressed, onclick }, text);
  const nodes = node.group ? drawn.groups[id] : [id], edited = id !== "logits";
  byId("trace-node").replaceChildren(el("h3", { class: "address" }, id), el("p", { class: "why" }, node.group ? `A group of ${plural(nodes.length, "node")}.` : "", ` Effect ${figure(node.effect)} logits${drawn.kind === "edges" ? ", of what is shown from it" : ""}.`),
    el("table", { class: "pairs" }, el("tbody", {}, ends(0, 1), ends(1, 0))),
    el("div", { class: "controls" }, row >= 0 ? button("open the unit", () => openUnit(row)) : null,
      head && live ? button("what it attends to", () => attendBy(head[1], head[2])) : null,
      mlp && groups.some((g) => g.name === `${mlp[1]}.neurons`) ? button("its neurons", () => listBy(`site = ${mlp[1]}.neurons`)) : null,
      edited && live ? button("touch", () => intoBasket(nodes.join(", "))) : null,
      edited && !node.group && which().name ? button("choose for a group", () => chooseNode(id), String(tracing.chosen.has(id))) : null));
}

function attendBy(layer, head) {
  if (!byId("try-text").value) byId("try-text").value = byId("clean").value;
  const text = byId("try-text").value;
  byId("try").scrollIntoView();
  if (text && text === reading.text) return chooseHead(Number(layer), Number(head));
  for (const [id, value] of Object.entries({ layer, head })) {
    byId(id).value = value;
    keep(id, value, 0);
  }
  keep("shade", "head");
  if (text) readText();
}

function listBy(where) {
  byId("where").value = where;
  byId("where").dispatchEvent(new Event("input"));
  byId("list").scrollIntoView();
}

function drawGroups() {
  const { groups: kept } = tracing.drawn, names = Object.keys(kept), closed = closedGroups();
  const chosen = [...tracing.chosen].filter((id) => tracing.drawn.nodes.some((n) => n.id === id && !n.group));
  byId("closing").replaceChildren(...names.map((name) => el("button", { type: "button", "aria-pressed": String(closed.includes(name)), onclick: () => closeGroup(name) }, name)));
  byId("trace-groups").replaceChildren(which().name ? el("form", { onsubmit: (event) => { event.preventDefault(); keepGroup(byId("group-name").value, chosen); } },
    el("p", { class: "chips" }, chosen.length ? chosen.map((id) => el("span", { class: "chip" }, labelOf(id))) : "No node is chosen for a group."),
    el("div", { class: "controls" }, el("input", { id: "group-name", autocomplete: "off", maxlength: 80, "aria-label": "Name of the group", placeholder: "name of a group" }), el("button", { disabled: chosen.length ? null : "" }, "group them"),
      names.map((name) => el("button", { type: "button", "aria-label": `Take the group ${name} apart`, onclick: () => keepGroup(name, []) }, `${name} ×`)))) : el("p", { class: "say" }, "Keep it under a name, and its nodes can be grouped."));
}

function closeGroup(name) {
  const closed = closedGroups();
  keep("closed", (closed.includes(name) ? closed.filter((other) => other !== name) : [...closed, name]).join("\n"));
  drawCircuit();
}

async function keepGroup(group, nodes) {
  try {
    await asked("api/circuit/group", posting({ name: which().name, group, nodes }));
    tracing.chosen.clear();
    keep("closed", [...closedGroups().filter((other) => other !== group.trim()), ...(nodes.length ? [group.trim()] : [])].join("\n"));
    await drawCircuit();
  } catch (error) {
    byId("trace-say").textContent = error.message;
  }
}

async function touchRest() {
  try {
    intoBasket((await asked(`api/circuit/rest?${new URLSearchParams(which())}`)).nodes.join(", "));
  } catch (error) {
    byId("against-say").textContent = error.message;
  }
}

// Ask the model, and hand on each line that it answers; what is asked later gives up what was asked before.
async function streamed(path, body, each) {
  const options = posted(path, body, tracing), mine = tracing.stop;
  byId("trace-stop").disabled = false;
  try {
    await eachLine(`api/${path}`, options, async (line) => {
      reading.loaded = true;
      await each(line);
    });
  } catch (error) {
    if (mine === tracing.stop) throw mine.signal.aborted ? new Error("Stopped.") : error;
  } finally {
    if (mine === tracing.stop) byId("trace-stop").disabled = true;
  }
}

const thePair = () => ({ prompt: byId("clean").value, contrast: byId("contrast").value, answer: byId("answer").value, wrong: byId("wrong").value });

async function findCircuit() {
  const say = byId("ask-say");
  for (const id of WRITTEN) keep(id, byId(id).value.slice(0, 4000));
  say.textContent = waitingFor("Reading both prompts");
  byId("prompts").replaceChildren();
  try {
    await streamed("circuit/find", { ...thePair(), method: byId("method").value, size: Number(byId("size").value) / 100 }, async (line) => {
      if (line.doing) say.textContent = `${line.doing[0].toUpperCase()}${line.doing.slice(1)} …`;
      if (line.pair) drawPair(line.pair);
      if (!line.found) return;
      await openCircuit({ found: line.found });
      say.replaceChildren("Found on one pair, tested on none: it is what differs between these two prompts, and may be of no other. Test it here, or write another pair and test it on that.", keepForm());
    });
  } catch (error) {
    say.textContent = error.message;
  }
}

function drawPair({ tokens, other, answer, wrong, values }) {
  const text = (mine, its) => mine.flatMap((token, i) => (token === its[i] ? visible(token) : el("mark", {}, visible(token))));
  byId("prompts").replaceChildren(el("p", { class: "passage" }, text(tokens, other), "\n", text(other, tokens)),
    el("p", { class: "say" }, chip(answer), " over ", chip(wrong), `: ${figure(values[0])} logits after the prompt, ${figure(values[1])} after the contrast.`));
}

function keepForm() {
  const name = el("input", { id: "circuit-name", autocomplete: "off", maxlength: 80, "aria-label": "Name of the circuit", placeholder: "name of the circuit" }), said = el("small", { role: "status" });
  return el("span", { class: "controls" }, name, el("button", { type: "button", onclick: async () => {
    try {
      const kept = await asked("api/circuit/save", posting({ found: which().found, name: name.value }));
      fillCircuits(kept.names);
      await openCircuit({ circuit: kept.name });
      said.textContent = `In Python: nissl.behaviour.load_circuit(net, "${kept.file}")`;
    } catch (error) {
      said.textContent = error.message;
    }
  } }, "keep it"), said);
}

async function testCircuit() {
  const say = byId("against-say");
  say.textContent = waitingFor("Testing");
  try {
    await streamed("circuit/test", { ...thePair(), ...which() }, (line) => {
      if (line.pair) drawPair(line.pair);
      if (line.of) say.textContent = `Testing: ${line.done} of ${line.of} runs …`;
      if (!line.scores) return;
      const { faithfulness, random, as_near, n_random, p } = line.scores;
      say.textContent = `With all else as after the contrast, the circuit alone keeps ${percent(faithfulness)} of the difference between the two prompts; ${n_random} random circuits of its size keep ${percent(random)}, and ${as_near} of them come as near to 100% (p = ${figure(p)}). ` +
        (line.same ? "This is the pair that it was found on: it says that the circuit suffices here, not that it does elsewhere." : "It was not found on this pair.");
    });
  } catch (error) {
    say.textContent = error.message;
  }
}

function fillCircuits(names) {
  byId("circuit").replaceChildren(el("option", { value: "" }, names.length ? "a circuit …" : "no circuit is kept"), ...names.map((name) => el("option", { value: name }, name)));
  byId("circuit").value = which().name;
}

async function startTrace() {
  fillCircuits((await asked("api/circuits")).names);
  const { name, found } = which();
  if (location.hash === "#trace") byId("trace").scrollIntoView();
  if (name || found) await drawCircuit();
}
