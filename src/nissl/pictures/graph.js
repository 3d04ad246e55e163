// A layered graph, such as a circuit: layers upwards, lines as wide as their effects, dashed below zero.
//
// graph(nodes, edges, options) returns an <svg> as wide as it needs: put it into an element that scrolls.
// nodes: [{ name: its own, label: what its box says, layer: its row; 3.5 is drawn half a row above 3,
//           position?: its column, such as the place of a token; without it all stand in one,
//           effect?: shades its box, group?: nodes of one group are one box, which bears its name }]
// edges: [{ from: name, to: name, effect }]; those between the same two boxes are added up.
// options: { onopen: is told the box on click, Enter or Space, as { name, nodes, layer, effect, … },
//            chosen: the name of a node or group that is marked, label: what the graph is,
//            layers, positions: names of rows and columns by their number, most: edges drawn, the largest }
// Tab leads to the graph, arrows from box to box. The box in focus or under the pointer shows its own edges.

function graph(nodes, edges, { onopen = null, chosen = null, label = "Graph", layers = {}, positions = {}, most = 150 } = {}) {
  const { boxes, lines, left } = boxed(nodes, edges, most);
  const { wide, high, rows, columns } = laid(boxes);
  const largest = Math.max(1e-30, ...lines.map((e) => Math.abs(e.effect))), strongest = Math.max(1e-30, ...boxes.map((b) => Math.abs(b.effect)));
  const ink = (effect) => `var(${effect < 0 ? "--low" : "--accent"})`;
  const arcs = lines.map((e) => svg("path", { class: "edge", fill: "none", d: arc(e.from, e.to), stroke: ink(e.effect), "stroke-opacity": 0.65,
    "stroke-width": (0.6 + (5 * Math.abs(e.effect)) / largest).toFixed(2), "stroke-dasharray": e.effect < 0 ? "5 3" : null },
  svg("title", {}, `${e.from.label} to ${e.to.label}: ${figure(e.effect)}`)));
  const show = (box) => lines.forEach((e, i) => arcs[i].classList.toggle("far", Boolean(box) && e.from !== box && e.to !== box));
  const marked = boxes.find((b) => b.name === chosen || b.nodes.some((n) => n.name === chosen));
  const shapes = boxes.map((b, i) => {
    const many = (end) => plural(lines.filter((e) => e[end] === b).length, "edge");
    return svg("g", { class: "node", role: "button", tabindex: (marked ? b === marked : i === 0) ? 0 : -1, "aria-pressed": String(b === marked),
      "aria-label": `${b.label}${b.effect ? `, effect ${figure(b.effect)}` : ""}; ${many("to")} in, ${many("from")} out`,
      onclick: () => onopen && onopen(b), onfocus: () => show(b), onblur: () => show(null), onpointerenter: () => show(b), onpointerleave: () => show(null) },
    svg("rect", { x: b.x - b.wide / 2, y: b.y - 10, width: b.wide, height: 20, rx: b.nodes.length > 1 ? 10 : 4, stroke: b === marked ? "var(--ink)" : b.effect ? ink(b.effect) : "var(--soft)",
      "stroke-width": b === marked ? 2 : 1, fill: `color-mix(in srgb, ${ink(b.effect)} ${Math.round((22 * Math.abs(b.effect)) / strongest)}%, var(--card))` }),
    svg("text", { x: b.x, y: b.y + 4, "text-anchor": "middle" }, cutTo(b.label, 22)), svg("title", {}, b.nodes.map((n) => n.name).join(", ")));
  });
  const said = left ? `; the largest ${lines.length.toLocaleString("en")} of ${plural(lines.length + left, "edge")} are drawn` : "";
  return svg("svg", { class: "graph", viewBox: `0 0 ${wide} ${high}`, role: "group", "aria-label": `${label}${said}`, style: `width:${wide}px`,
    onkeydown: (event) => toNext(event, boxes, shapes, onopen) },
  left ? svg("text", { x: 0, y: 11 }, said.slice(2)) : null,
  rows.map(({ layer, y }) => svg("text", { x: 30, y: y + 4, "text-anchor": "end" }, String(layers[layer] ?? layer))),
  columns.map(({ position, x }) => positions[position] === undefined ? null : svg("text", { x, y: high - 4, "text-anchor": "middle" }, cutTo(visible(String(positions[position])), 16))),
  arcs, shapes);
}

// Nodes of one group as one box, at the place of the strongest of them; the largest edges between boxes.
function boxed(nodes, edges, most) {
  const groups = new Map();
  for (const n of nodes) groups.set(n.group ?? n.name, [...(groups.get(n.group ?? n.name) || []), n]);
  const boxes = [...groups].map(([name, held]) => {
    const lead = held.reduce((a, b) => (Math.abs(b.effect || 0) > Math.abs(a.effect || 0) ? b : a));
    return { ...lead, name, label: held.length > 1 ? `${name} (${held.length})` : lead.label, nodes: held, effect: held.reduce((sum, n) => sum + (n.effect || 0), 0) };
  });
  const boxOf = new Map(boxes.flatMap((b) => b.nodes.map((n) => [n.name, b])));
  const sums = new Map();
  for (const { from, to, effect } of edges) {
    const [a, b] = [boxOf.get(from), boxOf.get(to)], key = a && b && `${boxes.indexOf(a)} ${boxes.indexOf(b)}`;
    if (a && b && a !== b) sums.set(key, { from: a, to: b, effect: (sums.has(key) ? sums.get(key).effect : 0) + effect });
  }
  const lines = [...sums.values()].sort((a, b) => Math.abs(b.effect) - Math.abs(a.effect));
  return { boxes, lines: lines.slice(0, most), left: Math.max(0, lines.length - most) };
}

// Gives each box its x, y and width: a row a layer from below, a column a position, side by side within a cell.
function laid(boxes, row = 42, gap = 8) {
  const layers = [...new Set(boxes.map((b) => Math.floor(b.layer)))].sort((a, b) => a - b);
  const places = [...new Set(boxes.map((b) => b.position ?? 0))].sort((a, b) => a - b);
  const high = 30 + layers.length * row + 16, columns = [], rows = layers.map((layer, i) => ({ layer, y: high - 40 - i * row }));
  let left = 46;
  for (const position of places) {
    const here = boxes.filter((b) => (b.position ?? 0) === position), cell = new Map();
    for (const b of here) {
      b.wide = 14 + 6.2 * Math.min(b.label.length, 22);
      cell.set(b.layer, [...(cell.get(b.layer) || []), b]);
    }
    const widthOf = (list) => list.reduce((sum, b) => sum + b.wide + gap, -gap), widest = Math.max(...[...cell.values()].map(widthOf));
    for (const [layer, list] of cell) {
      let x = left + (widest - widthOf(list)) / 2;
      for (const b of list) {
        Object.assign(b, { x: x + b.wide / 2, y: rows[layers.indexOf(Math.floor(layer))].y - (layer - Math.floor(layer)) * row });
        x += b.wide + gap;
      }
    }
    columns.push({ position, x: left + widest / 2 });
    left += widest + 26;
  }
  return { wide: Math.ceil(left), high, rows, columns };
}

// From the top of one box to the foot of another; within a row, over it.
function arc(a, b) {
  const [from, to] = b.y > a.y ? [b, a] : [a, b], top = from.y - 10, foot = to.y + 10, bend = from.y === to.y ? -26 : (top - foot) / 2;
  if (from.y === to.y) return `M${a.x},${top}C${a.x},${top + bend} ${b.x},${top + bend} ${b.x},${top}`;
  return `M${from.x},${top}C${from.x},${top - bend} ${to.x},${foot + bend} ${to.x},${foot}`;
}

// The nearest box in the direction of an arrow takes the focus.
function toNext(event, boxes, shapes, onopen) {
  const at = shapes.indexOf(event.target), step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
  if (at >= 0 && onopen && (event.key === "Enter" || event.key === " ")) { event.preventDefault(); onopen(boxes[at]); }
  if (at < 0 || !step) return;
  event.preventDefault();
  const ahead = (b) => step[0] * (b.x - boxes[at].x) + step[1] * (b.y - boxes[at].y), aside = (b) => Math.abs(step[1] * (b.x - boxes[at].x)) + Math.abs(step[0] * (b.y - boxes[at].y));
  const next = boxes.map((b, i) => [ahead(b) + 3 * aside(b), i]).filter(([, i]) => ahead(boxes[i]) > 0).sort((a, b) => a[0] - b[0])[0];
  if (!next) return;
  shapes.forEach((s, i) => s.setAttribute("tabindex", i === next[1] ? 0 : -1));
  shapes[next[1]].focus();
}
