// Scores of what was tested, each beside its null: the band is the mean of the null and two deviations to each side.
// rows: [{ name, value, mean?, sd?, q? }]; a full dot has q of at most 0.05.
function scores(rows, { room = 560, score = "score" } = {}) {
  const number = (x) => x !== null && x !== undefined;
  const ends = (r) => [r.value, ...(number(r.mean) ? [r.mean - 2 * (r.sd || 0), r.mean + 2 * (r.sd || 0)] : [])].filter(number);
  const all = rows.flatMap(ends), low = Math.min(0, ...all), high = Math.max(0, ...all) || 1;
  const step = 22, top = 20, left = 14 + 6.4 * Math.min(34, Math.max(...rows.map((r) => r.name.length))), wide = Math.max(left + 160, Math.min(room, 760)), tall = top + rows.length * step;
  const x = (v) => left + ((v - low) / (high - low)) * (wide - left - 12), found = (r) => number(r.q) && r.q <= 0.05;
  return svg("svg", { viewBox: `0 0 ${wide} ${tall + 18}`, style: `max-width:${wide}px`, role: "img", "aria-label": `${score} of ${plural(rows.length, "row")}${all.length > rows.length ? " beside the null" : ""}` },
    svg("text", { x: left, y: 10 }, `${score}${rows.some((r) => number(r.mean)) ? "; grey is the null" : ""}`),
    svg("line", { x1: x(0), x2: x(0), y1: top, y2: tall, stroke: "var(--line)" }),
    rows.map((r, i) => {
      const y = top + (i + 0.5) * step;
      return svg("g", {}, svg("title", {}, `${r.name}: ${figure(r.value)}${number(r.mean) ? `; by chance ${figure(r.mean)}` : ""}${number(r.q) ? `; q ${figure(r.q, 2)}` : ""}`),
        svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, cutTo(r.name, 34)),
        number(r.mean) ? svg("rect", { x: x(r.mean - 2 * (r.sd || 0)) - 1, width: x(r.mean + 2 * (r.sd || 0)) - x(r.mean - 2 * (r.sd || 0)) + 2, y: y - 6, height: 12, rx: 2, fill: "var(--soft)", "fill-opacity": 0.22 }) : null,
        number(r.value) ? svg("circle", { cx: x(r.value), cy: y, r: 4, fill: found(r) ? "var(--accent)" : "var(--card)", stroke: "var(--accent)", "stroke-width": 1.5 }) : null);
    }),
    svg("text", { x: left, y: tall + 14 }, figure(low)), svg("text", { x: wide - 12, y: tall + 14, "text-anchor": "end" }, figure(high)));
}
