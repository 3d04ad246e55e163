// Every head of a text in small: a column for each layer, and what the chosen token looks at.

function headsPart() {
  return el("details", { id: "every-head", ontoggle: (event) => { keep("heads", event.target.open ? 1 : ""); lookAtHeads(); } }, el("summary", {}, "the attention of every head"),
    el("p", { class: "say", id: "heads-say", role: "status" }),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Heads" }, el("div", { id: "heads", role: "group", "aria-label": "Heads; arrows go from one to the next", onkeydown: stepHead })));
}

async function lookAtHeads() {
  const { found, text, heads } = reading;
  if (!found || !byId("every-head").open) return;
  if (heads && heads.text === text && heads.position === found.position) return drawHeads();
  if (!heads) byId("heads-say").textContent = "Looking at every head …";
  try {
    const told = await asked("api/heads", posted("heads", { text, position: found.position }, reading.looking));
    reading.heads = { ...told, text, position: found.position };
    drawHeads();
  } catch (error) {
    if (error.name !== "AbortError") byId("heads-say").textContent = error.message;
  }
}

const chosenHead = () => (view.get("shade") === "head" ? [Number(byId("layer").value), Number(byId("head").value)] : [-1, -1]);

function headSay(layer, head) {
  const { tokens, position } = reading.found;
  return `Layer ${layer.layer}, head ${head}: ${quoted(tokens[position])} looks most at ${quoted(tokens[layer.most[head]])} (${percent(layer.weight[head])}); ${figure(layer.bits[head])} bits of at most ${figure(Math.log2(position + 1))}`;
}

function drawHeads() {
  const { heads } = reading;
  if (!heads) return;
  const [atLayer, atHead] = chosenHead(), some = heads.layers.some((layer) => layer.layer === atLayer && atHead < layer.most.length), tall = Math.max(...heads.layers.map((layer) => layer.most.length));
  const box = byId("heads"), focused = box.contains(document.activeElement);
  box.style.gridTemplateRows = `auto repeat(${tall}, auto)`;
  box.replaceChildren(...heads.layers.flatMap((layer, i) => [el("small", { style: `grid-column:${i + 1};grid-row:1` }, String(layer.layer)),
    ...layer.most.map((_, head) => {
      const pressed = layer.layer === atLayer && head === atHead, says = headSay(layer, head);
      return el("button", { type: "button", style: `grid-column:${i + 1};grid-row:${head + 2}`, tabindex: pressed || (!some && !i && !head) ? 0 : -1, "aria-pressed": String(pressed), "aria-label": says, title: says,
        onclick: () => chooseHead(layer.layer, head) }, el("canvas", { width: heads.side, height: heads.side }));
    })]));
  paintHeads();
  if (focused) box.querySelector('[tabindex="0"]').focus();
  const layer = heads.layers.find((l) => l.layer === atLayer);
  byId("heads-say").textContent = "A column is a layer, a picture is a head: rows are tokens that look, columns what they look at. " + (some ? `${headSay(layer, atHead)}.` : "Choose one to shade the text by it.");
}

// In the colour of the theme; what a head attends to is how opaque it is.
function paintHeads() {
  const { heads } = reading;
  if (!heads) return;
  const pixel = el("canvas", { width: 1, height: 1 }).getContext("2d");
  pixel.fillStyle = getComputedStyle(document.documentElement).getPropertyValue("--accent");
  pixel.fillRect(0, 0, 1, 1);
  const colour = pixel.getImageData(0, 0, 1, 1).data, size = heads.side ** 2, drawn = [...byId("heads").querySelectorAll("canvas")];
  let at = 0;
  for (const layer of heads.layers) {
    const raw = bytes(layer.pictures);
    for (let head = 0; head < layer.most.length; head++) {
      const image = new ImageData(heads.side, heads.side);
      for (let i = 0; i < size; i++) image.data.set([colour[0], colour[1], colour[2], raw[head * size + i]], 4 * i);
      drawn[at++].getContext("2d").putImageData(image, 0, 0);
    }
  }
}

function chooseHead(layer, head) {
  for (const [id, value] of [["layer", layer], ["head", head]]) {
    byId(id).value = value;
    keep(id, value, 0);
  }
  keep("shade", "head");
  drawHeads();
  attend();
}

function stepHead(event) {
  const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key], at = document.activeElement;
  if (!step || !at.style.gridColumn) return;
  const [column, row] = [parseInt(at.style.gridColumnStart, 10) + step[0], parseInt(at.style.gridRowStart, 10) + step[1]];
  const next = [...byId("heads").querySelectorAll("button")].find((b) => parseInt(b.style.gridColumnStart, 10) === column && parseInt(b.style.gridRowStart, 10) === row);
  if (!next) return;
  event.preventDefault();
  at.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
}

function startHeads() {
  for (const target of [byId("theme"), dark]) target.addEventListener(target === dark ? "change" : "click", paintHeads);
}
