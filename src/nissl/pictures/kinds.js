// What units are: how many of each kind, in all and in each layer. kinds: [{ name, count, meaning }].

const kindInk = (name) => `var(--k-${name}, var(--accent))`;
const shareOf = (kind, kinds) => percent(kind.count / kinds.reduce((sum, k) => sum + k.count, 0));

function kindsBar(kinds) {
  return kinds.filter((k) => k.count).map((k) => el("div", { title: `${k.name}: ${shareOf(k, kinds)}`, style: `background:${kindInk(k.name)};flex:${k.count}` }));
}

// Where kinds are chosen, `button` makes what holds the words of one.
function kindsLegend(kinds, button = () => el("div")) {
  return kinds.filter((k) => k.count).map((k) => el("li", {}, filled(button(k), {}, [el("i", { style: `background:${kindInk(k.name)}` }),
    el("span", {}, el("b", {}, k.name), ` ${k.count.toLocaleString("en")} · ${shareOf(k, kinds)}`), el("small", {}, k.meaning)])));
}

// groups: [{ short, long, counts: a number for each name of a kind }], from above; `row` and `left` in pixels.
function kindsStack(groups, names, { wide, row = 24, left = 46, label = "Kinds of units in each layer" }) {
  const high = groups.length * row, foot = 26;
  const picture = svg("svg", { viewBox: `0 ${-row} ${wide} ${high + foot + row}`, role: "img", "aria-label": label });
  groups.forEach((group, i) => {
    const all = group.counts.reduce((sum, n) => sum + n, 0);
    let from = left;
    group.counts.forEach((n, k) => {
      const part = (n / all) * (wide - left - 6);
      if (n) picture.append(svg("rect", { x: from, y: i * row + 5, width: part, height: row - 6, fill: kindInk(names[k]) },
        svg("title", {}, `${group.long}: ${plural(n, names[k] + " unit")}, ${percent(n / all)}`)));
      from += part;
    });
  });
  picture.append(...rowLabels(groups, left - 8, row, row / 2 - 6),
    ...[0, 25, 50, 75, 100].map((t) => svg("text", { x: left + (t / 100) * (wide - left - 6), y: high + 17,
      "text-anchor": t === 0 ? "start" : t === 100 ? "end" : "middle" }, `${t}%`)));
  return picture;
}

// As many names of rows as do not stand too close.
function rowLabels(groups, right, row, lift) {
  const every = groups.length <= 16 ? 1 : groups.length <= 32 ? 2 : Math.ceil(groups.length / 16);
  return groups.flatMap((g, i) => (i % every ? [] : [svg("text", { x: right, y: (i + 1) * row - lift, "text-anchor": "end" }, g.short)]));
}
