// The stain: every unit is one cell of a tile, every site a tile.

const stain = { cells: null, chosen: 0 };

// Tiles, cells and columns such that the picture fills the width, in few rows and with few gaps.
function layTiles(width) {
  const largest = Math.max(...groups.map((g) => g.rows.length));
  const gap = 14, label = 16, wanted = Math.min(600, 1.5 * width);
  let best = null;
  for (let tiles = 1; tiles <= Math.min(groups.length, 10); tiles++) {
    const wide = (width - gap * (tiles - 1)) / tiles;
    for (let cell = 1; cell <= 28; cell++) {
      const across = Math.min(largest, Math.floor(wide / cell));
      if (across < 1) break;
      const down = Math.ceil(largest / across), rows = Math.ceil(groups.length / tiles);
      const height = rows * (down * cell + label + gap) - gap;
      const empty = (rows * tiles - groups.length) / groups.length;
      const cost = Math.abs(Math.log(height / wanted)) + 3 * empty + 0.4 * Math.abs(Math.log(across / down / 1.6)) +
        0.5 * (1 - (across * cell) / wide) + (cell < 3 ? 0.3 * (3 - cell) : 0);
      if (!best || cost < best.cost) best = { tiles, cell, across, down, rows, height, cost, gap, label };
    }
  }
  return best;
}

function orderedRows(group, statistic, order) {
  if (order === "index") return group.rows;
  const key = statistic ? (r) => statistic.values[r] : (r) => -units.kind[r];
  const safe = (r) => (Number.isNaN(key(r)) ? -Infinity : key(r));
  return [...group.rows].sort((a, b) => safe(b) - safe(a));
}

function drawStain() {
  const canvas = byId("stain");
  const statistic = statisticOf[byId("statistic").value];
  const width = canvas.parentElement.clientWidth - 2 * parseFloat(getComputedStyle(canvas.parentElement).paddingLeft);
  const lay = layTiles(width);
  const ratio = Math.max(1, Math.round(window.devicePixelRatio || 1));
  canvas.width = width * ratio;
  canvas.height = lay.height * ratio;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${lay.height}px`;
  const pen = canvas.getContext("2d");
  const colour = statistic ? colourOf(statistic) : kindColours();
  const image = pen.createImageData(canvas.width, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const cells = { lay, width, at: new Map() };
  const size = lay.cell * ratio, seam = lay.cell >= 6 ? ratio : 0;
  groups.forEach((group, g) => {
    const left = (g % lay.tiles) * (lay.across * lay.cell + lay.gap);
    const top = Math.floor(g / lay.tiles) * (lay.down * lay.cell + lay.label + lay.gap) + lay.label;
    const rows = orderedRows(group, statistic, byId("order").value);
    cells.at.set(g, { left, top, rows });
    rows.forEach((row, i) => {
      const [r, gr, b] = colour(row);
      const packed = (255 << 24) | (b << 16) | (gr << 8) | r;
      const x = (left + (i % lay.across) * lay.cell) * ratio;
      const y = (top + Math.floor(i / lay.across) * lay.cell) * ratio;
      for (let v = 0; v < size - seam; v++) {
        const line = (y + v) * canvas.width + x;
        pixels.fill(packed, line, line + size - seam);
      }
    });
  });
  pen.putImageData(image, 0, 0);
  pen.scale(ratio, ratio);
  pen.font = `11px ${css("--sans")}`;
  pen.fillStyle = css("--soft");
  groups.forEach((group, g) => {
    const { left, top } = cells.at.get(g);
    pen.fillText(fitted(pen, group.long, lay.across * lay.cell), left, top - 5);
  });
  stain.cells = cells;
  stain.statistic = statistic;
  canvas.setAttribute("aria-label", `${plural(units.n, "unit")} in ${plural(groups.length, "site")}, coloured by ` +
    `${statistic ? statistic.label : "kind"}. Arrow keys move, Enter opens.`);
  drawScale(statistic);
}

function fitted(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let kept = text;
  while (kept.length > 1 && pen.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
  return `${kept}…`;
}

function drawScale(statistic) {
  const box = byId("scale");
  box.replaceChildren();
  if (!statistic) {
    for (const kind of data.kinds.filter((k) => k.count))
      box.append(el("span", {}, el("i", { style: `background:${kindColour(kind.name)}` }), kind.name));
    byId("map-say").textContent = "Each cell is one unit, each tile one site. Point at a cell to read it, click to open it.";
    return;
  }
  const { low, high, median, log } = span(statistic);
  const colour = ramp((statistic.scale === "diverging" ? ARMS : STAIN)[theme()]);
  const stops = Array.from({ length: 13 }, (_, i) => `rgb(${colour(i / 12).join(" ")})`);
  box.append(el("span", {}, shown(statistic, low)),
    el("span", { class: "ramp", style: `background:linear-gradient(90deg,${stops.join(",")})` }),
    el("span", {}, shown(statistic, high)),
    el("span", {}, `median ${shown(statistic, median)}${log ? "; logarithmic" : ""}${units.n > 2000 ? "; outermost hundredths clipped" : ""}`));
  byId("map-say").textContent = `Each cell is one unit, each tile one site. Colour: ${statistic.meaning}.`;
}

function cellUnder(x, y) {
  const { lay, at } = stain.cells;
  for (const { left, top, rows } of at.values()) {
    const column = Math.floor((x - left) / lay.cell), line = Math.floor((y - top) / lay.cell);
    if (column >= 0 && column < lay.across && line >= 0 && line < lay.down) {
      const row = rows[line * lay.across + column];
      return row === undefined ? -1 : row;
    }
  }
  return -1;
}

function tipFor(row) {
  const lines = [el("b", {}, address(row)), el("span", {}, data.kinds[units.kind[row]].name)];
  if (units.token && units.token[row]) lines.push(` · ${visible(data.strings[units.token[row]]).trim() || "␣"}`);
  const statistic = stain.statistic || statisticOf.density;
  if (statistic) lines.push(el("br"), `${statistic.label} ${shown(statistic, statistic.values[row])}`);
  return lines;
}

function showTip(row, x, y) {
  const tip = byId("tip");
  tip.hidden = row < 0;
  if (row < 0) return;
  tip.replaceChildren(...tipFor(row));
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(x + 14, innerWidth - box.width - 8)}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18}px`;
}

function liveStain() {
  const canvas = byId("stain");
  const under = (event) => cellUnder(event.offsetX, event.offsetY);
  canvas.addEventListener("pointermove", (event) => showTip(under(event), event.clientX, event.clientY));
  canvas.addEventListener("pointerleave", () => showTip(-1));
  canvas.addEventListener("click", (event) => under(event) >= 0 && openUnit(under(event)));
  canvas.addEventListener("blur", () => showTip(-1));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -stain.cells.lay.across, ArrowDown: stain.cells.lay.across }[event.key];
    if (event.key === "Enter") openUnit(stain.chosen);
    if (step === undefined) return;
    event.preventDefault();
    stain.chosen = Math.min(units.n - 1, Math.max(0, stain.chosen + step));
    const box = canvas.getBoundingClientRect();
    for (const { left, top, rows } of stain.cells.at.values()) {
      const i = rows.indexOf(stain.chosen), lay = stain.cells.lay;
      if (i >= 0) showTip(stain.chosen, box.left + left + (i % lay.across) * lay.cell, box.top + top + Math.floor(i / lay.across) * lay.cell);
    }
  });
}
