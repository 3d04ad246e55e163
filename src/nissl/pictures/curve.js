// Mean activity at each level over the band of its null: a line, or dots where levels have no order.
// curve: { name, says, what?, kind: circular, categorical or any other, y, low, high, names, x? }; `room` in pixels.
function tuningCurve(curve, { room: most = 560, tall = 120 } = {}) {
  const wide = Math.max(200, most - (curve.kind === "circular" ? 128 : 0));
  const all = [...curve.y, ...curve.low, ...curve.high].filter((v) => v !== null);
  const high = Math.max(...all, 1e-9), least = Math.min(0, ...all), low = least > -1e-6 * high ? 0 : least, n = curve.y.length;
  const top = 18, left = 44, right = 6, apart = curve.kind === "categorical";
  // Bins of a quantity hold equally many samples, and are as wide as that needs.
  const from = curve.x ? curve.x[0] : 0, across = curve.x && n > 1 ? curve.x[n - 1] - from : 0;
  const along = (i) => (across > 0 ? (curve.x[i] - from) / across : n > 1 ? i / (n - 1) : 0.5);
  const room = (wide - left - right) / n;
  const x = (i) => left + (apart ? (i + 0.5) * room : along(i) * (wide - left - right));
  const y = (v) => tall - 2 - ((v - low) / (high - low)) * (tall - top - 2);
  // Names that would lie over each other stand in two rows; if need be they are cut, or left out.
  const longest = 6.4 * Math.max(...curve.names.map((name) => name.length)) + 8;
  const crowded = apart && longest > room, every = Math.max(1, Math.ceil(40 / room / 2));
  const letters = Math.floor((crowded ? 2 * every * room : room) / 6.4 - 1);
  const name = (i) => (apart && curve.names[i].length > Math.max(letters, 6) ? `${curve.names[i].slice(0, Math.max(letters, 6) - 1)}…` : curve.names[i]);
  const picture = svg("svg", { viewBox: `0 0 ${wide} ${tall + (crowded ? 31 : 18)}`, role: "img", "aria-label": `Tuning to ${curve.name}: ${curve.says}` },
    ...[low, 0, high].filter((v, i) => i !== 1 || low < 0).map((v) => svg("line", { x1: left, x2: wide - right, y1: y(v), y2: y(v), stroke: css("--line"), "stroke-dasharray": v === low || v === 0 ? null : "2 3" })),
    // Zero is told where it is not at either end.
    ...[low, 0, high].filter((v, i) => i !== 1 || (y(low) - y(0) > 12 && y(0) - y(high) > 12)).map((v) => svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, figure(v))),
    svg("text", { x: left, y: 9 }, curve.what || ""));
  picture.append(...(apart ? dots(curve, x, y, room) : line(curve, x, y)));
  const marks = apart ? curve.names.map((_, i) => i).filter((i) => !crowded || i % every === 0) : spaced([0, n >> 2, n >> 1, n - 1 - (n >> 2), n - 1], x);
  picture.append(...[...new Set(marks)].map((i) => svg("text", { x: x(i), y: tall + 14 + (crowded && (i / every) % 2 ? 13 : 0),
    "text-anchor": apart ? "middle" : i === 0 ? "start" : i === n - 1 ? "end" : "middle" }, svg("title", {}, curve.names[i]), name(i))));
  return curve.kind === "circular" ? el("div", { class: "round" }, picture, polarCurve(curve)) : picture;
}

// The same around a circle, from zero to the right against the clock; activity is the distance from the centre.
function polarCurve(curve, size = 110) {
  const all = [...curve.y, ...curve.high].filter((v) => v !== null), low = Math.min(0, ...curve.y, ...curve.low), n = curve.y.length;
  const reach = Math.max(...all, low + 1e-9) - low, middle = size / 2, most = middle - 16;
  const at = (v, i) => {
    const angle = (2 * Math.PI * (i + 0.5)) / n, r = ((v === null ? low : v) - low) / reach * most;
    return `${(middle + r * Math.cos(angle)).toFixed(1)},${(middle - r * Math.sin(angle)).toFixed(1)}`;
  };
  const ring = (values) => `M${values.map(at).join("L")}Z`;
  const unit = curve.names[0].endsWith("°") ? "°" : "";
  return svg("svg", { class: "polar", viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": `Tuning to ${curve.name} around the circle` },
    svg("circle", { cx: middle, cy: middle, r: most, fill: "none", stroke: css("--line") }),
    svg("path", { d: `M${middle - most},${middle}H${middle + most}M${middle},${middle - most}V${middle + most}`, stroke: css("--line") }),
    svg("path", { d: ring(curve.high) + ring(curve.low), "fill-rule": "evenodd", fill: css("--soft"), "fill-opacity": 0.18 }),
    svg("path", { d: ring(curve.y), fill: css("--accent"), "fill-opacity": 0.12, stroke: css("--accent"), "stroke-width": 1.5 }),
    unit && [["0°", size + 2, middle + 4, "end"], ["90°", middle, 11, "middle"]].map(([text, x, y, anchor]) => svg("text", { x, y, "text-anchor": anchor }, text)));
}

// Labels that would lie over the one before, or over the last, are left out.
function spaced(marks, x) {
  // Those in the middle stand around their place, the outermost on one side of it.
  const last = marks.at(-1), apart = (kept) => x(kept.at(-1)) + (kept.length > 1 ? 44 : 62);
  return marks.reduce((kept, i) => (i === last || ((!kept.length || x(i) > apart(kept)) && x(last) - x(i) > 62) ? [...kept, i] : kept), []);
}

function line(curve, x, y) {
  const path = (values) => values.map((v, i) => (v === null ? null : `${x(i).toFixed(1)},${y(v).toFixed(1)}`)).filter(Boolean);
  return [svg("path", { fill: css("--soft"), "fill-opacity": 0.18, d: `M${[...path(curve.high), ...path(curve.low).reverse()].join("L")}Z` }),
    svg("path", { d: `M${path(curve.y).join("L")}`, fill: "none", stroke: css("--accent"), "stroke-width": 1.6 })];
}

function dots(curve, x, y, room) {
  const half = Math.min(14, room * 0.32);
  return curve.y.flatMap((v, i) => (v === null ? [] : [
    curve.low[i] === null ? "" : svg("rect", { x: x(i) - half, width: 2 * half, y: y(curve.high[i]), rx: 2,
      height: Math.max(1, y(curve.low[i]) - y(curve.high[i])), fill: css("--soft"), "fill-opacity": 0.22 }),
    svg("circle", { cx: x(i), cy: y(v), r: 3.4, fill: css("--accent") }, svg("title", {}, `${curve.names[i]}: ${figure(v)}`))]));
}
