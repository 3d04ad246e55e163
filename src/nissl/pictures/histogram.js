// A histogram: counts between edges, logarithmic; below zero in another colour. Of whole numbers the ends are whole.
function histogram(counts, edges, { wide = 132, tall = 34, labels = false, whole = false } = {}) {
  const peak = Math.max(...counts, 1);
  const step = wide / counts.length;
  const foot = labels ? 16 : 0;
  const high = (c) => (c ? Math.max(1, (Math.log1p(c) / Math.log1p(peak)) * tall) : 0);
  const picture = svg("svg", { viewBox: `0 0 ${wide} ${tall + foot}`, role: "img", "aria-label":
    `Histogram of activity from ${figure(edges[0])} to ${figure(edges.at(-1))}, counts on a logarithmic scale` });
  counts.forEach((c, i) => {
    const side = edges[i] < 0 && edges[i + 1] > 0 ? "--soft" : edges[i] < 0 ? "--low" : "--accent";
    picture.append(svg("rect", { x: i * step, y: tall - high(c), width: Math.max(0.5, step - 0.6), height: high(c),
      fill: css(side), "fill-opacity": side === "--soft" ? 0.45 : 0.75 }));
  });
  picture.append(svg("line", { x1: 0, x2: wide, y1: tall, y2: tall, stroke: css("--line") }));
  const ends = whole ? [Math.ceil(edges[0]), Math.floor(edges.at(-1))] : [edges[0], edges.at(-1)];
  if (labels) picture.append(svg("text", { x: 0, y: tall + 13 }, figure(ends[0])),
    svg("text", { x: wide, y: tall + 13, "text-anchor": "end" }, figure(ends[1])));
  return picture;
}
