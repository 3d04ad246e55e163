// A figure beside its null, and a unit among the others.

// Eta squared as a dot; in grey two deviations around the mean of its null, which cannot be below zero.
function besideNull({ name, eta2, null: [mean, sd] }, { room: wide = 560 } = {}) {
  if ([eta2, mean, sd].some((v) => v === null || v === undefined)) return null;
  const left = 44, right = 6, most = Math.max(eta2, mean + 2 * sd, 1e-9), x = (v) => left + (Math.max(0, v) / most) * (wide - left - right);
  const says = `Eta² of ${name} ${figure(eta2)}; under its null ${figure(mean)} ± ${figure(sd, 2)}`;
  return el("figure", { class: "beside" }, svg("svg", { viewBox: `0 0 ${wide} 16`, role: "img", "aria-label": says },
    svg("line", { x1: left, x2: wide - right, y1: 8, y2: 8, stroke: css("--line") }), svg("text", { x: left - 6, y: 12, "text-anchor": "end" }, "eta²"),
    svg("rect", { x: x(mean - 2 * sd), y: 3, width: Math.max(1, x(mean + 2 * sd) - x(mean - 2 * sd)), height: 10, rx: 2, fill: css("--soft"), "fill-opacity": 0.28 }),
    svg("line", { x1: x(mean), x2: x(mean), y1: 2, y2: 14, stroke: css("--soft") }),
    svg("circle", { cx: x(eta2), cy: 8, r: 4, fill: css("--accent") })),
  el("figcaption", {}, `${figure(eta2)}; grey: under its null ${figure(mean)} ± ${figure(sd, 2)} (deviation; the band is two of them)`));
}

// How many units lie where along an axis, and where this one is; single units where they are few.
function standing({ bins, ticks, at, says }, { wide = 64, tall = 16 } = {}) {
  const peak = Math.max(1, ...(bins || [])), x = (t) => 2 + t * (wide - 4);
  return svg("svg", { class: "standing", viewBox: `0 0 ${wide} ${tall}`, role: "img", "aria-label": says }, svg("title", {}, says),
    (bins || []).map((n, i) => n && svg("rect", { x: x(i / bins.length), width: (wide - 4) / bins.length, y: tall - 2 - Math.max(1, Math.sqrt(n / peak) * (tall - 3)), height: Math.max(1, Math.sqrt(n / peak) * (tall - 3)), fill: css("--soft"), "fill-opacity": 0.45 })),
    (ticks || []).map((t) => svg("line", { x1: x(t), x2: x(t), y1: tall - 8, y2: tall - 2, stroke: css("--soft") })),
    svg("line", { x1: 2, x2: wide - 2, y1: tall - 1.5, y2: tall - 1.5, stroke: css("--line") }),
    svg("line", { x1: x(at), x2: x(at), y1: 0, y2: tall - 1, stroke: css("--accent"), "stroke-width": 2 }));
}
