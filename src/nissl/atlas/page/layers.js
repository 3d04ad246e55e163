// Layer by layer: how a statistic is distributed, and which kinds of units there are.

const ROW = Math.max(21, Math.min(46, Math.round(300 / groups.length)));
const LONGEST = Math.max(...groups.map((g) => g.short.length));
const LEFT = LONGEST <= 4 ? 46 : Math.min(150, 14 + 6.2 * LONGEST), FOOT = 26, FEW = 40;

// One unit of a picture is one pixel of the screen, so that its text keeps its size on a phone.
const wideOf = (id) => Math.max(260, byId(id).clientWidth || 560);

function counts(group, statistic, bins) {
  const found = new Float64Array(bins);
  for (const row of group.rows) {
    const x = statistic.values[row];
    if (!Number.isFinite(x) || (span(statistic).log && x <= 0)) continue;
    const t = along(statistic, x);
    if (t >= 0 && t <= 1) found[Math.min(bins - 1, Math.floor(t * bins))]++;
  }
  return found;
}

function smoothed(values, width) {
  const reach = Math.ceil(3 * width);
  return values.map((_, i) => {
    let sum = 0, weight = 0;
    for (let k = -reach; k <= reach; k++) {
      if (i + k < 0 || i + k >= values.length) continue;
      const w = Math.exp((-k * k) / (2 * width * width));
      sum += w * values[i + k];
      weight += w;
    }
    return sum / weight;
  });
}

function drawRidge() {
  const wide = wideOf("ridge");
  const statistic = statisticOf[byId("statistic").value] || statisticOf.density || data.statistics[0];
  const bins = units.n / groups.length < 100 ? 28 : 72;
  const all = groups.map((g) => smoothed(counts(g, statistic, bins), bins / 60));
  const peak = Math.max(...all.map((c, i) => Math.max(...c) / Math.max(1, groups[i].rows.length))) || 1;
  const height = groups.length * ROW + FOOT + ROW;
  const picture = svg("svg", { viewBox: `0 ${-ROW} ${wide} ${height}`, role: "img", "aria-label": `Distribution of ${statistic.label} in each ${data.group}` });
  const x = (bin) => LEFT + ((bin + 0.5) / bins) * (wide - LEFT - 6);
  const colour = css("--accent"), paper = css("--paper");
  groups.forEach((group, i) => {
    const base = (i + 1) * ROW;
    if (group.rows.length < FEW) {
      picture.append(...rug(group, statistic, base, wide, colour));
      return;
    }
    const tall = (c) => base - (c / Math.max(1, group.rows.length) / peak) * ROW * 1.9;
    const line = Array.from(all[i], (c, b) => `${x(b).toFixed(1)},${tall(c).toFixed(1)}`).join("L");
    picture.append(svg("path", { d: `M${x(0)},${base}L${line}L${x(bins - 1)},${base}Z`, fill: paper, "fill-opacity": 0.85 }),
      svg("path", { d: `M${x(0)},${base}L${line}L${x(bins - 1)},${base}Z`, fill: colour, "fill-opacity": 0.16 }),
      svg("path", { d: `M${line}`, fill: "none", stroke: colour, "stroke-width": 1.1 },
        svg("title", {}, `${group.long}: median ${shown(statistic, median(group, statistic))}`)));
  });
  picture.append(...rowLabels(groups, LEFT - 8, ROW, 4), ...axis(statistic, wide));
  byId("ridge").replaceChildren(picture);
  byId("ridge-say").textContent = `Distribution of ${statistic.label} over the units of each ${data.group} (${statistic.meaning})${units.n > 2000 ? "; the outermost hundredths are left out" : ""}.`;
}

// Where a layer has few units, each is a dot.
function rug(group, statistic, base, wide, colour) {
  const dots = [svg("line", { x1: LEFT, x2: wide - 6, y1: base - 6, y2: base - 6, stroke: css("--line") })];
  for (const row of group.rows) {
    const t = along(statistic, statistic.values[row]);
    if (!(t >= 0 && t <= 1)) continue;
    dots.push(svg("circle", { cx: LEFT + t * (wide - LEFT - 6), cy: base - 6, r: 3.6, fill: colour, "fill-opacity": 0.55 },
      svg("title", {}, `${address(row)}: ${shown(statistic, statistic.values[row])}`)));
  }
  return dots;
}

function median(group, statistic) {
  const sorted = group.rows.map((r) => statistic.values[r]).filter(Number.isFinite).sort((a, b) => a - b);
  return sorted.length ? sorted[sorted.length >> 1] : NaN;
}

function axis(statistic, wide) {
  const { from, to, log, reversed } = span(statistic);
  const y = groups.length * ROW;
  const value = (t) => (log ? from * (to / from) ** t : from + (to - from) * t);
  const at = (t) => value(reversed ? 1 - t : t);
  return (wide - LEFT > 260 ? [0, 0.25, 0.5, 0.75, 1] : [0, 0.5, 1]).map((t) => {
    const x = LEFT + t * (wide - LEFT - 6);
    return svg("g", {}, svg("line", { x1: x, x2: x, y1: y, y2: y + 4, stroke: css("--soft") }),
      svg("text", { x, y: y + 17, "text-anchor": t === 0 ? "start" : t === 1 ? "end" : "middle" }, shown(statistic, at(t))));
  });
}

function drawStack() {
  const counted = groups.map((g) => ({ ...g, counts: data.kinds.map((_, k) => g.rows.filter((r) => units.kind[r] === k).length) }));
  byId("stack").replaceChildren(kindsStack(counted, data.kinds.map((k) => k.name), { wide: wideOf("stack"), row: ROW, left: LEFT, label: `Kinds of units in each ${data.group}` }));
  byId("stack-say").textContent = `Share of each kind of unit in each ${data.group}; colours as above.`;
}
