// Units where they lie, seen along the shortest of their axes.

const axesOfSpace = ["x", "y", "z"].map((name) => statisticOf[name]).filter(Boolean);
const hasSpace = axesOfSpace.length >= 2;

function extent(axis) {
  const finite = axis.values.filter(Number.isFinite);
  return [finite.reduce((a, b) => Math.min(a, b), Infinity), finite.reduce((a, b) => Math.max(a, b), -Infinity)];
}

// Half the usual distance to the nearest other, so that dots touch where units lie in a grid.
function fittingRadius(places) {
  if (places.length > 4000) return 2.5;
  const nearest = places.map(([row, x, y]) => places.reduce((least, [other, a, b]) =>
    (other === row ? least : Math.min(least, Math.hypot(x - a, y - b))), Infinity)).sort((a, b) => a - b);
  return Math.max(2.5, Math.min(12, nearest[nearest.length >> 1] / 2));
}

function placesIn(width) {
  const [across, down] = axesOfSpace.map((axis) => ({ axis, range: extent(axis) }))
    .sort((a, b) => b.range[1] - b.range[0] - (a.range[1] - a.range[0])).slice(0, 2);
  const wide = across.range[1] - across.range[0] || 1, tall = down.range[1] - down.range[0] || 1;
  const edge = 14, scale = Math.min((width - 2 * edge) / wide, (560 - 2 * edge) / tall);
  const left = (width - wide * scale) / 2, places = [];
  for (let row = 0; row < units.n; row++) {
    const a = across.axis.values[row], d = down.axis.values[row];
    // What is larger lies higher, as on a plot.
    if (Number.isFinite(a) && Number.isFinite(d)) places.push([row, left + (a - across.range[0]) * scale, edge + (down.range[1] - d) * scale]);
  }
  return { places, radius: fittingRadius(places), height: Math.max(120, tall * scale + 2 * edge),
    axes: `${across.axis.label} to the right, ${down.axis.label} upwards` };
}

function spacePlan(width) {
  const { places, radius, height, axes } = placesIn(width);
  const without = units.n - places.length;
  return { height, step: 10,
    says: `Each dot is one unit at its place: ${axes}${without ? `; ${without.toLocaleString("en")} without a place are left out` : ""}.`,
    closest: 24,
    paint: (pen, ratio, colour, see) => paintSpace(pen, ratio, colour, places, radius * Math.sqrt(see.k), see),
    under: (x, y, k) => spaceUnder(x, y, places, (radius * Math.sqrt(k) + 2) / k),
    placeOf: (row) => (places.find((p) => p[0] === row) || [0, 0, 0]).slice(1) };
}

function paintSpace(pen, ratio, colour, places, radius, { k, left, top }) {
  const { width, height } = unitMap.size, outside = (at, most) => at < -radius || at > most + radius;
  pen.scale(ratio, ratio);
  pen.strokeStyle = css("--line");
  pen.lineWidth = 0.6;
  for (const [row, a, b] of places) {
    const x = (a - left) * k, y = (b - top) * k;
    if (outside(x, width) || outside(y, height)) continue;
    pen.fillStyle = `rgb(${colour(row).join(" ")})`;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    pen.fill();
    pen.stroke();
  }
}

function spaceUnder(x, y, places, reach) {
  let best = -1, nearest = reach * reach;
  for (const [row, a, b] of places) {
    const distance = (x - a) ** 2 + (y - b) ** 2;
    if (distance <= nearest) [best, nearest] = [row, distance];
  }
  return best;
}
