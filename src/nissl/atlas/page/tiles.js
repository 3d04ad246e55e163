// Units as cells of tiles, a tile for each site.

// Tiles, cells and columns such that the picture fills the width, in few rows and with few gaps.
function layTiles(width) {
  const largest = Math.max(...groups.map((g) => g.rows.length));
  const gap = 14, label = 16, wanted = Math.min(600, 1.5 * width);
  let best = null;
  for (let tiles = 1; tiles <= Math.min(groups.length, 10); tiles++) {
    const wide = (width - gap * (tiles - 1)) / tiles;
    // On a phone a cell is touched with a finger.
    for (let cell = width < 520 ? 4 : 1; cell <= 28; cell++) {
      const across = Math.min(largest, Math.floor(wide / cell));
      if (across < 1) break;
      const down = Math.ceil(largest / across), rows = Math.ceil(groups.length / tiles);
      // A row of tiles is as high as its largest.
      const tops = [label];
      for (let r = 0; r < rows; r++) {
        const tallest = Math.max(...groups.slice(r * tiles, (r + 1) * tiles).map((g) => Math.ceil(g.rows.length / across)));
        tops.push(tops[r] + tallest * cell + gap + label);
      }
      const height = tops[rows] - gap - label;
      const empty = (rows * tiles - groups.length) / groups.length;
      const cost = Math.abs(Math.log(height / wanted)) + 3 * empty + 0.4 * Math.abs(Math.log(across / down / 1.6)) +
        0.5 * (1 - (across * cell) / wide) + (cell < 3 ? 0.3 * (3 - cell) : 0);
      if (!best || cost < best.cost) best = { tiles, cell, across, down, tops, height, cost, gap };
    }
  }
  return best;
}

function orderedRows(group, statistic, category, order) {
  if (order === "index") return group.rows;
  const key = statistic ? (r) => statistic.values[r] : category ? (r) => (category.codes[r] ? -category.codes[r] : -Infinity) : (r) => -units.kind[r];
  const safe = (r) => (Number.isNaN(key(r)) ? -Infinity : key(r));
  return [...group.rows].sort((a, b) => safe(b) - safe(a));
}

function tilePlan(width, statistic, category) {
  const lay = layTiles(width);
  const tiles = groups.map((group, g) => ({
    group, left: (g % lay.tiles) * (lay.across * lay.cell + lay.gap), top: lay.tops[Math.floor(g / lay.tiles)],
    rows: orderedRows(group, statistic, category, byId("order").value),
  }));
  return { height: lay.height, step: lay.across, says: "Each cell is one unit, each tile one site.",
    closest: Math.max(8, 72 / lay.cell),
    paint: (pen, ratio, colour, see) => paintTiles(pen, ratio, colour, tiles, lay, see),
    boxOf: (g) => [tiles[g].left, tiles[g].top - 16, lay.across * lay.cell, Math.ceil(tiles[g].rows.length / lay.across) * lay.cell + 18],
    under: (x, y) => tileUnder(x, y, tiles, lay),
    placeOf: (row) => placeInTiles(row, tiles, lay) };
}

function paintTiles(pen, ratio, colour, tiles, lay, see) {
  const { width, height } = pen.canvas, cell = lay.cell * see.k * ratio, gap = cell >= 6 * ratio ? ratio : 0;
  const image = pen.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const inside = (v, most) => Math.max(0, Math.min(most, v)), large = [];
  for (const { left, top, rows } of tiles) {
    const x0 = (left - see.left) * see.k * ratio, y0 = (top - see.top) * see.k * ratio;
    const first = inside(Math.floor(-x0 / cell), lay.across), last = inside(Math.ceil((width - x0) / cell), lay.across);
    const lines = Math.ceil(rows.length / lay.across);
    for (let line = inside(Math.floor(-y0 / cell), lines); line < inside(Math.ceil((height - y0) / cell), lines); line++) {
      const up = Math.round(y0 + line * cell), down = inside(Math.round(y0 + (line + 1) * cell) - gap, height);
      for (let column = first; column < Math.min(last, rows.length - line * lay.across); column++) {
        const row = rows[line * lay.across + column], [red, green, blue] = colour(row);
        const packed = (255 << 24) | (blue << 16) | (green << 8) | red;
        const from = Math.round(x0 + column * cell), to = inside(Math.round(x0 + (column + 1) * cell) - gap, width);
        for (let v = Math.max(0, up); v < down; v++) pixels.fill(packed, v * width + Math.max(0, from), v * width + to);
        if (cell >= 40 * ratio) large.push([row, from / ratio, up / ratio, 0.3 * red + 0.59 * green + 0.11 * blue > 135]);
      }
    }
  }
  pen.putImageData(image, 0, 0);
  pen.scale(ratio, ratio);
  pen.font = `11px ${css("--sans")}`;
  for (const [row, x, y, pale] of large) nameCell(pen, row, x, y, cell / ratio, pale);
  for (const tile of tiles) nameTile(pen, tile, lay, see);
}

// A cell that is large enough says which unit it is, and the token that it prefers.
function nameCell(pen, row, x, y, wide, pale) {
  pen.fillStyle = pale ? "#25222e" : "#ffffff";
  pen.fillText(String(units.index[row]), x + 4, y + 14);
  const token = units.token && units.token[row] ? visible(data.strings[units.token[row]]).trim() : "";
  if (token) pen.fillText(fitted(pen, token, wide - 8), x + 4, y + 29);
}

// The name of a tile stands over it; where its top is out of sight, at the edge.
function nameTile(pen, { group, left, top, rows }, lay, see) {
  const x = (left - see.left) * see.k, y = (top - see.top) * see.k - 5, wide = lay.across * lay.cell * see.k;
  const end = y + Math.ceil(rows.length / lay.across) * lay.cell * see.k, at = Math.max(x, 0), high = Math.max(y, 11);
  if (x + wide < 20 || x > unitMap.size.width || end < 12 || y > unitMap.size.height + 8) return;
  const text = fitted(pen, group.long, Math.min(x + wide, unitMap.size.width) - at);
  if (y < 11 || x < 0) {
    pen.fillStyle = css("--card");
    pen.fillRect(at, high - 11, pen.measureText(text).width + 6, 15);
  }
  pen.fillStyle = css("--soft");
  pen.fillText(text, at, high);
}

function tileUnder(x, y, tiles, lay) {
  for (const { left, top, rows } of tiles) {
    const column = Math.floor((x - left) / lay.cell), line = Math.floor((y - top) / lay.cell);
    const row = column >= 0 && column < lay.across && line >= 0 ? rows[line * lay.across + column] : undefined;
    if (row !== undefined) return row;
  }
  return -1;
}

function placeInTiles(row, tiles, lay) {
  for (const { left, top, rows } of tiles) {
    const i = rows.indexOf(row);
    if (i >= 0) return [left + (i % lay.across) * lay.cell, top + Math.floor(i / lay.across) * lay.cell];
  }
  return [0, 0];
}

function fitted(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let kept = text;
  while (kept.length > 1 && pen.measureText(`${kept}…`).width > width) kept = kept.slice(0, -1);
  return `${kept}…`;
}
