// One unit: the small card in the list, and the sheet that opens over the page.

function sparkline(card, wide = 132, tall = 34, labels = false) {
  const { histogram, edges } = card;
  const peak = Math.max(...histogram, 1);
  const step = wide / histogram.length;
  const foot = labels ? 16 : 0;
  const high = (c) => (c ? Math.max(1, (Math.log1p(c) / Math.log1p(peak)) * tall) : 0);
  const picture = svg("svg", { viewBox: `0 0 ${wide} ${tall + foot}`, role: "img", "aria-label":
    `Histogram of activity from ${figure(edges[0])} to ${figure(edges.at(-1))}, counts on a logarithmic scale` });
  histogram.forEach((c, i) => {
    const side = edges[i] < 0 && edges[i + 1] > 0 ? "--soft" : edges[i] < 0 ? "--low" : "--accent";
    picture.append(svg("rect", { x: i * step, y: tall - high(c), width: Math.max(0.5, step - 0.6), height: high(c),
      fill: css(side), "fill-opacity": side === "--soft" ? 0.45 : 0.75 }));
  });
  picture.append(svg("line", { x1: 0, x2: wide, y1: tall, y2: tall, stroke: css("--line") }));
  // Bins of counts hold whole numbers.
  const ends = data.measure.startsWith("spikes") ? [Math.ceil(edges[0]), Math.floor(edges.at(-1))] : [edges[0], edges.at(-1)];
  if (labels) picture.append(svg("text", { x: 0, y: tall + 13 }, figure(ends[0])),
    svg("text", { x: wide, y: tall + 13, "text-anchor": "end" }, figure(ends[1])));
  return picture;
}

// Images, each with the cell of the unit's map where it is at its peak.
function pictures(list) {
  const { folder, suffix } = data.pictures;
  const named = (c) => `image ${c.s.toLocaleString("en")}`;
  const picture = (c) => el("span", { class: "picture", title: `${named(c)}${c.at.length ? `, row ${c.at[0]}, column ${c.at[1]} of the map` : ""}` },
    el("img", { src: `${folder}/${c.s}${suffix}`, alt: `${named(c)}${c.l ? `: ${c.l}` : ""}`, loading: "lazy", onerror: (event) => event.target.replaceWith(named(c)) }),
    c.box && el("i", { style: ["left", "top", "width", "height"].map((side, k) => `${side}:${100 * c.box[k]}%`).join(";") }));
  return el("ul", { class: `pictures${suffix === ".png" ? " tiny" : ""}` }, list.map((c) => el("li", {}, suffix ? picture(c) : named(c),
    c.l ? el("small", { title: c.l }, c.l) : null, el("span", { class: "v" }, figure(c.v)))));
}

function contexts(list, aligned = false) {
  if (list.length && list[0].s !== undefined) return pictures(list);
  return el("ul", { class: "contexts" }, list.map((c) => el("li", {}, el("span", { class: "v" }, figure(c.v)),
    c.t ? passage(c, aligned) : el("p", { class: "trace" }, el("span", {}, c.l || `sample ${c.i.toLocaleString("en")}`), c.a ? trace(c) : null))));
}

// Activity around a sample of a recording, from the unit's lowest to its highest.
function trace(c, wide = 190, tall = 22) {
  const x = (i) => 2 + (i / Math.max(1, c.a.length - 1)) * (wide - 4);
  const y = (a) => tall - 3 - ((a + 127) / 254) * (tall - 6);
  const steps = c.a.map((a, i) => (a === null ? "" : `${i && c.a[i - 1] !== null ? "L" : "M"}${x(i).toFixed(1)},${y(a).toFixed(1)}`));
  return svg("svg", { viewBox: `0 0 ${wide} ${tall}`, role: "img", "aria-label": "Activity around this sample" },
    svg("path", { d: steps.join(""), fill: "none", stroke: css("--soft") }),
    svg("circle", { cx: x(c.at), cy: y(c.a[c.at]), r: 2.6, fill: css(c.v < 0 ? "--low" : "--accent") }));
}

// The text around a place, shaded by activity; in a card the places stand below each other.
function passage(c, aligned) {
  const words = c.t.map((token, i) => {
    // Activity in 127ths of the strongest; what is weak is left unshaded.
    const a = c.a ? c.a[i] / 127 : i === c.at ? Math.sign(c.v) : 0;
    const shade = Math.abs(a) < 0.06 ? null :
      `background:color-mix(in srgb, var(${a < 0 ? "--low" : "--accent"}) calc(${Math.abs(a).toFixed(2)} * var(--shade)), transparent)`;
    return el("span", { class: i === c.at ? "peak" : null, style: shade }, visible(data.strings[token]));
  });
  const style = `--edge:var(${c.v < 0 ? "--low" : "--accent"})`, title = `document ${c.d}, position ${c.p}`;
  if (!aligned) return el("p", { style, title }, words);
  return el("p", { class: "aligned", style, title }, el("span", {}, el("span", {}, words.slice(0, c.at))), el("span", {}, words.slice(c.at)));
}

function reason(row) {
  const card = cardOf.get(row), kind = data.kinds[units.kind[row]].name;
  if (card && card.reason) return el("p", { class: "why" }, el("i", { class: "dot", style: `background:var(--k-${kind})` }),
    card.reason.map((part) => (typeof part === "string" ? part : chip(part[0]))));
  return el("p", { class: "why" }, el("i", { class: "dot", style: `background:var(--k-${kind})` }), kind);
}

function writes(card) {
  if (!card.promoted) return null;
  return el("div", { class: "writes" },
    el("div", {}, el("b", {}, "promotes"), card.promoted.slice(0, 5).map(([t]) => chip(t))),
    el("div", {}, el("b", {}, "suppresses"), card.suppressed.slice(0, 5).map(([t]) => chip(t))));
}

// Mean activity at each level over the band of its null: a line, or dots where levels have no order.
function tuningPicture(curve, most, tall) {
  // As wide as there is room, so that its text keeps its size on a phone.
  const wide = Math.max(200, Math.min(most, innerWidth - 90) - (curve.kind === "circular" ? 128 : 0));
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
  return curve.kind === "circular" ? el("div", { class: "round" }, picture, polarPicture(curve)) : picture;
}

// The same around a circle, from zero to the right against the clock; activity is the distance from the centre.
function polarPicture(curve, size = 110) {
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

// Mean activity over a plane, seen from above: what is larger lies further to the right and higher.
function planePicture(map, tall = 190) {
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

function smallCard(card) {
  const row = card.row, telling = card.sign < 0 ? card.low : card.high;
  return el("article", { class: "card", onclick: () => openUnit(row) },
    el("header", {}, el("div", {}, el("button", { class: "address", type: "button" }, address(row)), reason(row)),
      card.histogram && sparkline(card)),
    card.tuning && card.tuning.length ? tuningPicture(card.tuning[0], 480, 84) : null,
    telling && telling.some((c) => c.t) ? contexts(telling.slice(0, 4), true) : null,
    telling && telling[0].s !== undefined ? pictures(telling.slice(0, 6)) : null,
    writes(card));
}

function pairs(row) {
  // What is said above a curve is not said again.
  const said = new Set(((cardOf.get(row) || {}).tuning || []).flatMap((c) => ["eta2", "effect", "q", "preferred"].map((k) => `${c.name.replace(/ /g, "_")}_${k}`)));
  const rows = data.statistics.filter((s) => !Number.isNaN(s.values[row]) && !said.has(s.name)).map((s) =>
    el("tr", { title: s.meaning }, el("th", {}, s.label), el("td", {}, shown(s, s.values[row]))));
  return el("table", { class: "pairs" }, el("tbody", {}, rows));
}

function evidence(title, list, head) {
  if (!list || !list.length) return null;
  return el("div", {}, el("h3", {}, title), el("table", { class: "table" },
    el("thead", {}, el("tr", {}, head.map((h) => el("th", {}, h)))),
    el("tbody", {}, list.map(([text, effect, q, documents]) => el("tr", {}, el("td", {}, chip(text)),
      el("td", {}, figure(effect)), el("td", {}, figure(q, 2)), documents === undefined ? null : el("td", {}, String(documents)))))));
}

function part(title, ...content) {
  const kept = content.flat().filter(Boolean);
  return kept.length ? el("div", {}, el("h3", {}, title), kept) : null;
}

// What the explorer adds to a unit: functions of its row that make an element.
const unitTools = [];

function openUnit(row) {
  const card = cardOf.get(row);
  const sheet = byId("unit");
  unitMap.chosen = row;
  const left = el("div", {}, card && card.histogram ? part(`Histogram of ${data.measure.startsWith("spikes") ? data.measure : `activity${data.measure ? `, ${data.measure}` : ""}`}; counts logarithmic`, sparkline(card, 272, 80, true)) : null,
    part("Figures", pairs(row)), card && card.neighbours ? part("Nearest in activity", neighbours(card)) : null);
  const right = el("div", {}, card ? detail(card) : el("p", { class: "none" }, "Reading what is beside this page …"));
  const close = el("button", { class: "close", type: "button", "aria-label": "Close", onclick: () => sheet.close() }, "×");
  sheet.replaceChildren(el("div", { class: "sheet", tabindex: "-1", autofocus: "" }, el("header", {}, el("div", {}, el("h2", { id: "unit-title" }, address(row)), reason(row), unitTools.map((tool) => tool(row))), close),
    el("div", { class: "grid" }, left, right)));
  const place = `#${encodeURIComponent(address(row))}`;
  // One step of the history for an open unit, whichever is looked at: Back leads to the page.
  const direct = Boolean(history.state && history.state.direct) || (location.hash === place && !sheet.open && !history.state);
  history[sheet.open || location.hash === place ? "replaceState" : "pushState"]({ unit: true, direct }, "", place);
  if (!sheet.open) sheet.showModal();
  sheet.scrollTop = 0;
  if (!card) loadUnits(row, right);
}

// Units without a card are told by the explorer, or in files beside the page: scripts, which a page from the disk may load.
function loadUnits(row, box) {
  const { each, folder } = data.every || {};
  const open = () => (cardOf.has(row) ? byId("unit").open && unitMap.chosen === row && openUnit(row) : failed());
  const failed = () => box.replaceChildren(el("p", { class: "none" }, data.every ?
    `The folder “${folder}” beside this page is missing: the places of this unit are there. They are in examples.parquet, too.` :
    "Nothing more is known of this unit."));
  if (data.live) return asked(`api/unit/${row}`).then(({ card, strings }) => { keepCards([card], strings); open(); },
    (error) => box.replaceChildren(el("p", { class: "none" }, error.message)));
  if (!data.every) return failed();
  window.nisslUnits = (made) => keepCards(made.cards, made.strings);
  document.head.append(el("script", { src: `${folder}/${Math.floor(row / each)}.js`, onerror: failed, onload: open }));
}

// Cards that came later name their texts by numbers of their own.
function keepCards(cards, strings) {
  const base = data.strings.length;
  data.strings.push(...strings);
  for (const card of cards) {
    for (const place of [...(card.high || []), ...(card.low || [])]) if (place.t) place.t = place.t.map((t) => t + base);
    if (!cardOf.has(card.row)) cardOf.set(card.row, card);
  }
}

function neighbours(card) {
  return el("table", { class: "pairs" }, el("tbody", {}, card.neighbours.map(([row, r]) => el("tr", {},
    el("td", {}, el("button", { class: "link", type: "button", onclick: () => openUnit(row) }, address(row))), el("td", {}, figure(r, 2))))));
}

function detail(card) {
  const logits = (list) => el("div", { class: "chips" }, list.map(([t, v]) => el("span", { title: figure(v) }, chip(t))));
  return [
    (card.tuning || []).map((c) => part(`Tuning to ${c.name}: ${c.says}; grey is the null`, tuningPicture(c, 560, 120))),
    card.map ? part(`Over ${card.map.names.join(" and ")}: mean activity where there were samples, smoothed by one bin; not tested`, planePicture(card.map)) : null,
    // The end at which it is what it is stands first.
    ...(card.sign < 0 ? ["low", "high"] : ["high", "low"]).map((end) => card[end] && part(`Where it is ${end}est`, contexts(card[end]))),
    evidence("Tokens it responds to", card.tokens, ["token", "effect, sd", "q", "documents"]),
    evidence("Pairs it responds to", card.bigrams, ["pair", "effect, sd", "q", "documents"]),
    card.promoted ? part("Its output raises the logits of", logits(card.promoted)) : null,
    card.suppressed ? part("and lowers those of", logits(card.suppressed)) : null,
  ].flat();
}
