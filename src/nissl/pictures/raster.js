// Activity over the whole of a recording: a row a trial, aligned at their first sample, or a stretch of time.
// r: { cells: base64 of bytes, 0 where there is no sample, else 1 to 255 between the ends of range (less one, spikes where counts);
// columns, range, counts, what, rows: what is aligned, empty of stretches, n of them, each: how many a row holds,
// starts: of rows, the number of a trial or a time; ends: of columns, measure: s or samples; mean?: over trials, rate: its unit }
function raster(r, { room = 560 } = {}) {
  const levels = cellsOf(r), down = r.starts.length, tall = Math.max(6, Math.min(14, Math.floor(240 / down)));
  const left = 52, right = 8, wide = Math.max(200, room), across = wide - left - right, top = r.mean ? 66 : 6, foot = top + down * tall;
  const ticks = ticked(r), ink = ticks ? tickInk(levels) : heatInk(r), cell = across / r.columns;
  const place = { x: (c) => left + c * cell, y: (row) => top + row * tall, wide: cell, tall };
  const gap = tall > 7 ? 2 : 1, stroke = ticks ? { wide: Math.max(1, Math.min(2, cell)), tall: tall - gap } : { wide: cell, tall: tall - 1 };
  const text = (x, y, anchor, said) => svg("text", { x, y, "text-anchor": anchor }, said);
  const every = Math.ceil(14 / tall), labelled = r.starts.map((_, i) => i).filter((i) => i % every === 0);
  const [from, to] = r.ends, along = (v) => left + ((v - from) / (to - from)) * across;
  return svg("svg", { class: "raster", viewBox: `0 0 ${wide} ${foot + 50}`, role: "img", "aria-label": `${rasterSays(r)}.${peakSays(r)}` },
    r.mean && meanOver(r, { left, across, tall: top - 14 }),
    // Where nothing happened is not where nothing was recorded.
    ticks && svg("path", { d: runs(levels, r, place, { wide: cell, tall: tall - gap }, (v) => v > 0), fill: "var(--faint)" }),
    inks(levels, ink).map(([bucket, fill, opacity]) => svg("path", { fill, "fill-opacity": opacity, "shape-rendering": ticks ? null : "crispEdges",
      d: runs(levels, r, place, stroke, (v) => v > 0 && ink(v).bucket === bucket, !ticks) })),
    labelled.map((i) => text(left - 6, top + i * tall + Math.min(tall - 1, 9), "end", r.rows ? r.starts[i] : figure(r.starts[i], 4))),
    svg("text", { "text-anchor": "middle", transform: `translate(9 ${(top + foot) / 2}) rotate(-90)` }, r.rows || `begins, ${r.measure}`),
    svg("line", { x1: left, x2: left + across, y1: foot + 1.5, y2: foot + 1.5, stroke: "var(--line)" }),
    rounds(from, to).flatMap((v) => [svg("line", { x1: along(v), x2: along(v), y1: foot + 1.5, y2: foot + 5, stroke: "var(--soft)" }),
      text(along(v), foot + 16, along(v) > wide - 20 ? "end" : "middle", figure(v))]),
    text(left, foot + 33, "start", `${r.measure}, from ${from ? "an event in" : "the start of"} each ${r.rows || "row"}`),
    ticks ? text(wide - right, foot + 48, "end", `faintest 1 spike, strongest ${Math.max(1, ...levels) - 1}`) : heatScale(r, ink, wide - right, foot + 48));
}

// What it shows, in words; the title and the label of the picture.
function rasterSays(r) {
  const each = r.each > 1 ? `, ${r.each} to a row${r.n % r.each ? ` (the last ${r.n % r.each})` : ""}` : "";
  const long = (v) => (r.measure === "samples" ? plural(v, "sample") : `${figure(v)} ${r.measure}`), span = long(r.ends[1] - r.ends[0]);
  const what = r.rows ? `${plural(r.n, r.rows)}${each}, each from its first sample, ${span} at most` : `The whole recording in ${plural(r.n, "row")} of ${span}, from above`;
  return `${what}; ${ticked(r) ? "ticks are spikes" : r.counts || r.what === "spikes" ? "stronger colour is more spikes" : "colour is mean activity"} in ${long((r.ends[1] - r.ends[0]) / r.columns)}`;
}

function peakSays({ mean, ends: [from, to], columns, measure, rate }) {
  const there = (mean || []).filter((v) => v !== null);
  if (!there.length) return "";
  const high = Math.max(...there), at = from + ((mean.indexOf(high) + 0.5) / columns) * (to - from);
  return ` The mean is highest at ${figure(at)} ${measure}: ${figure(high)}${rate && ` ${rate}`}`;
}

const cellsOf = ({ cells }) => Uint8Array.from(atob(cells), (c) => c.charCodeAt(0));

// Whether spikes are few enough to be told apart.
function ticked(r) {
  if (!r.counts) return false;
  const levels = cellsOf(r), there = levels.filter((v) => v > 0).length;
  return levels.filter((v) => v > 1).length <= there / 3;
}

// The colour of a level, and by which number levels of one colour are known.
function tickInk(levels) {
  const most = Math.max(2, ...levels) - 1;
  return (v) => (v > 1 ? { bucket: v, fill: "var(--accent)", opacity: most > 1 ? 0.4 + 0.6 * Math.sqrt((v - 2) / (most - 1)) : 1 } : { bucket: 0 });
}

function heatInk(r) {
  const [low, high] = rangeOf(r), apart = low < 0 && high > 0, most = apart ? Math.max(-low, high) : high - low || 1, STEPS = 24;
  return (v) => {
    const value = low + ((v - 1) / (r.counts ? high : 254)) * (high - low), t = (apart ? value : value - low) / most, step = Math.round(Math.abs(t) * STEPS);
    return { bucket: (t < 0 ? -1 : 1) * (step + 1), fill: t < 0 ? "var(--low)" : "var(--accent)", opacity: 0.07 + (0.93 * step) / STEPS };
  };
}

// Of counts, to the largest that there is.
const rangeOf = (r) => (r.counts ? [0, Math.max(1, Math.max(...cellsOf(r)) - 1)] : r.range);

// The colours that occur.
function inks(levels, ink) {
  const found = new Map();
  for (const v of new Set(levels)) if (v > 0 && ink(v).bucket) found.set(ink(v).bucket, [ink(v).bucket, ink(v).fill, ink(v).opacity]);
  return [...found.values()];
}

// The cells that are asked for, neighbours in one: a path for each colour is drawn faster than thousands of cells.
function runs(levels, r, place, mark, asked, joined = true) {
  const drawn = [];
  for (let row = 0; row < r.starts.length; row++) for (let c = 0; c < r.columns; c++) {
    const at = row * r.columns, from = c;
    if (!asked(levels[at + c])) continue;
    while (joined && c + 1 < r.columns && asked(levels[at + c + 1])) c++;
    const wide = (c - from) * place.wide + mark.wide;
    drawn.push(`M${(place.x(from) + (place.wide - mark.wide) / 2).toFixed(1)},${place.y(row)}h${wide.toFixed(1)}v${mark.tall}h${(-wide).toFixed(1)}z`);
  }
  return drawn.join("");
}

// The mean over trials, above them: of spikes, the peristimulus time histogram.
function meanOver({ mean, rate, rows, columns }, { left, across, tall }) {
  const there = mean.filter((v) => v !== null), low = Math.min(0, ...there), high = Math.max(...there, low + 1e-9);
  const x = (i) => left + ((i + 0.5) / columns) * across, y = (v) => tall - ((v - low) / (high - low)) * (tall - 18);
  const steps = mean.map((v, i) => (v === null ? "" : `${i && mean[i - 1] !== null ? "L" : "M"}${x(i).toFixed(1)},${y(v).toFixed(1)}`));
  return [svg("text", { x: left, y: 10 }, `mean while half of the ${rows}s last${rate && `, ${rate}`}`),
    ...[low, high].map((v) => svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, figure(v))),
    svg("line", { x1: left, x2: left + across, y1: y(0), y2: y(0), stroke: "var(--line)" }),
    svg("path", { class: "mean", d: steps.join(""), fill: "none", stroke: "var(--accent)", "stroke-width": 1.6, "stroke-linecap": "round" })];
}

function heatScale(r, ink, right, y) {
  const [low, high] = rangeOf(r), top = r.counts ? high : 254, n = 9, wide = 12, unit = r.what && ` ${r.what}`;
  const end = `${figure(high)}${unit}`, x = right - 6.4 * end.length - 6 - n * wide;
  return [...Array.from({ length: n }, (_, i) => {
    const { fill, opacity } = ink(1 + (i / (n - 1)) * top);
    return svg("rect", { x: x + i * wide, y: y - 9, width: wide, height: 9, fill, "fill-opacity": opacity, "shape-rendering": "crispEdges" });
  }), svg("text", { x: x - 6, y, "text-anchor": "end" }, figure(low)), svg("text", { x: right, y, "text-anchor": "end" }, end)];
}

// About five round numbers.
function rounds(from, to) {
  const rough = (to - from) / 5, ten = 10 ** Math.floor(Math.log10(rough)), step = [1, 2, 5, 10].find((m) => m * ten >= rough) * ten;
  return Array.from({ length: Math.floor(to / step + 1e-6) - Math.ceil(from / step - 1e-6) + 1 }, (_, i) => (Math.ceil(from / step - 1e-6) + i) * step);
}
