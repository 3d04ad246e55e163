// Mean activity over a plane, seen from above: what is larger lies further to the right and higher.
// map: { cells: rows of 0 to 255, -1 where there is nothing; range, what, names, ends: of both axes }.
function rateMap(map, tall = 190) {
  const down = map.cells.length, across = map.cells[0].length, cell = tall / Math.max(down, across);
  const left = 44, ink = ramp(SEQUENTIAL[theme()]), wide = left + across * cell + 90, high = down * cell;
  const picture = svg("svg", { class: "plane", viewBox: `0 0 ${wide} ${high + 32}`, style: `max-width:${Math.round(wide)}px`, role: "img", "aria-label": `Mean activity over ${map.names.join(" and ")}` });
  const colour = (share) => ink(0.08 + 0.92 * share); // where nothing happened is not where nobody was
  map.cells.forEach((row, r) => row.forEach((v, c) => v >= 0 && picture.append(svg("rect", { x: left + c * cell, y: (down - 1 - r) * cell,
    width: cell + 0.3, height: cell + 0.3, fill: `rgb(${colour(v / 255).join(" ")})` },
  svg("title", {}, `${figure(map.range[0] + (v / 255) * (map.range[1] - map.range[0]))} ${map.what}`)))));
  const text = (x, y, anchor, said) => svg("text", { x, y, "text-anchor": anchor }, said);
  picture.append(svg("rect", { x: left, y: 0, width: across * cell, height: high, fill: "none", stroke: css("--line") }),
    text(left, high + 14, "start", figure(map.ends[0][0])), text(left + across * cell, high + 14, "end", figure(map.ends[0][1])),
    text(left + (across * cell) / 2, high + 28, "middle", map.names[0]),
    text(left - 5, high, "end", figure(map.ends[1][0])), text(left - 5, 10, "end", figure(map.ends[1][1])),
    svg("text", { x: 0, y: 0, "text-anchor": "middle", transform: `translate(12 ${high / 2}) rotate(-90)` }, map.names[1]),
    ...[0, 0.25, 0.5, 0.75, 1].map((t) => svg("rect", { x: wide - 76, y: high * 0.8 * (1 - t), width: 10, height: high / 5, fill: `rgb(${colour(t).join(" ")})` })),
    text(wide - 60, 10, "start", `${figure(map.range[1])} ${map.what}`), text(wide - 60, high, "start", figure(map.range[0])));
  return picture;
}
