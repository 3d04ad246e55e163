// Activity around a sample of a recording, from the unit's lowest to its highest: { a: in 127ths, at: the sample, v: activity there }.
function trace(c, wide = 190, tall = 22) {
  const x = (i) => 2 + (i / Math.max(1, c.a.length - 1)) * (wide - 4);
  const y = (a) => tall - 3 - ((a + 127) / 254) * (tall - 6);
  const steps = c.a.map((a, i) => (a === null ? "" : `${i && c.a[i - 1] !== null ? "L" : "M"}${x(i).toFixed(1)},${y(a).toFixed(1)}`));
  return svg("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img", "aria-label": "Activity around this sample" },
    svg("path", { d: steps.join(""), fill: "none", stroke: css("--soft") }),
    svg("circle", { cx: x(c.at), cy: y(c.a[c.at]), r: 2.6, fill: css(c.v < 0 ? "--low" : "--accent") }));
}
