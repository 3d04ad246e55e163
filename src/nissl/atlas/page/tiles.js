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
    paint: (pen, ratio, colour) => paintTiles(pen, ratio, colour, tiles, lay),
    under: (x, y) => tileUnder(x, y, tiles, lay),
    placeOf: (row) => placeInTiles(row, tiles, lay) };
}

function paintTiles(pen, ratio, colour, tiles, lay) {
  const { width, height } = pen.canvas;
  const image = pen.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const size = lay.cell * ratio - (lay.cell >= 6 ? ratio : 0);
  for (const { left, top, rows } of tiles) {
    rows.forEach((row, i) => {
      const [red, green, blue] = colour(row);
      const packed = (255 << 24) | (blue << 16) | (green << 8) | red;
      const x = (left + (i % lay.across) * lay.cell) * ratio;
      const y = (top + Math.floor(i / lay.across) * lay.cell) * ratio;
      for (let v = 0; v < size; v++) pixels.fill(packed, (y + v) * width + x, (y + v) * width + x + size);
    });
  }
  pen.putImageData(image, 0, 0);
  pen.scale(ratio, ratio);
  pen.font = `11px ${css("--sans")}`;
  pen.fillStyle = css("--soft");
  for (const { group, left, top } of tiles) pen.fillText(fitted(pen, group.long, lay.across * lay.cell), left, top - 5);
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
