// What is known of a unit: the pictures of the others, put together.
//
// card: { kind, reason?, measure, statistics: [{ name, label, unit, meaning, value, beside?: a function that returns what figures take }],
// neighbours?: pairs of unit and r, histogram?, edges?, tuning?, map?, raster?, high?, low?, sign, tokens?, bigrams?, promoted?, suppressed?,
// meaning? of the kind, against?: words by column and part }

// A part of what is told, under a title; { text, words } for a title that can be asked what its figures are compared with.
function part(title, ...content) {
  const kept = content.flat().filter(Boolean), { text, words } = title.text ? title : { text: title };
  const asked = words && againstWhat(text, words);
  return kept.length ? el("div", {}, el("h3", {}, text, asked && [" ", asked.button]), asked && asked.box, kept) : null;
}

function reason(card) {
  return el("p", { class: "why" }, el("i", { class: "dot", style: `background:var(--k-${card.kind})` }),
    card.reason ? card.reason.map((part) => (typeof part === "string" ? part : chip(part[0]))) : card.kind);
}

function writes(card) {
  if (!card.promoted) return null;
  return el("div", { class: "writes" },
    el("div", {}, el("b", {}, "promotes"), card.promoted.slice(0, 5).map(([t]) => chip(t))),
    el("div", {}, el("b", {}, "suppresses"), card.suppressed.slice(0, 5).map(([t]) => chip(t))));
}

// The figures of a unit, at the side; `onopen` is told the unit of a neighbour.
function summary(card, onopen = null) {
  const { measure, against = {} } = card, whole = measure.startsWith("spikes");
  // What is said above a curve is not said again.
  const said = new Set((card.tuning || []).flatMap((c) => ["eta2", "effect", "q", "preferred"].map((k) => `${c.name.replace(/ /g, "_")}_${k}`)));
  const told = card.statistics.filter((s) => !said.has(s.name));
  const name = (unit) => (onopen ? el("button", { class: "link", type: "button", onclick: () => onopen(unit) }, unit) : unit);
  return el("div", {},
    card.histogram ? part({ text: `Histogram of ${whole ? measure : `activity${measure ? `, ${measure}` : ""}`}; counts logarithmic`, words: against.histogram }, histogram(card.histogram, card.edges, { wide: 272, tall: 80, labels: true, whole })) : null,
    part("Figures", figures(told.map((s) => [s.label, shown(s, s.value), s.meaning, s.beside ? s.beside() : { words: against[s.name] }]))),
    card.neighbours ? part({ text: "Nearest in activity, r", words: against.neighbours }, figures(card.neighbours.map(([unit, r]) => [name(unit), figure(r, 2)]))) : null);
}

// Its kind, the effect and q that made it so, and its null in a line; curves have their null beside them.
function kindWithNull(card) {
  const { kind, meaning, against = {} } = card;
  if (!meaning) return null;
  const effect = effectOf(card);
  return part({ text: "Its kind", words: against.kind }, el("p", { class: "kind" }, el("b", {}, kind), `: ${meaning}.`, effect ? ` ${effect.says}` : ""),
    effect && effect.words ? el("p", { class: "against" }, effect.words) : null);
}

// The figures by which a kind was decided, and what they were compared with.
function effectOf({ kind, statistics, against = {} }) {
  const [effect, q] = [kind === "positional" ? "position_share" : kind === "tuned" ? "tuning_effect" : `${kind}_effect`, kind === "tuned" ? "tuning_q" : `${kind}_q`].map((name) => statistics.find((s) => s.name === name));
  if (!effect) return null;
  const said = [effect, q].filter(Boolean).map((s) => `${s.label} ${shown(s, s.value)}`).join(", ");
  return { says: `${said[0].toUpperCase()}${said.slice(1)}.`, words: against[effect.name] };
}

// Where it is highest and what it answers; `room` in pixels, `pictures` as of images.
function detail(card, { room, ...pictures }) {
  const logits = (list) => el("div", { class: "chips" }, list.map(([t, v]) => el("span", { title: figure(v) }, chip(t))));
  const { against = {} } = card, of = (name, figure) => against[`${name.replace(/ /g, "_")}_${figure}`];
  return el("div", {}, kindWithNull(card),
    (card.tuning || []).map((c) => part({ text: `Tuning to ${c.name}: ${c.says}; grey is the null`, words: of(c.name, "q") }, tuningCurve(c, { room }), c.null && besideNull(c, { room }))),
    card.raster ? part({ words: against.raster, text: `${rasterSays(card.raster)}; not tested` }, raster(card.raster, { room })) : null,
    card.map ? part({ words: against.map, text: `Over ${card.map.names.join(" and ")}: mean activity where there were samples, smoothed by one bin; not tested` }, rateMap(card.map)) : null,
    // The end at which it is what it is stands first.
    (card.sign < 0 ? ["low", "high"] : ["high", "low"]).map((end) => card[end] && part({ text: `Where it is ${end}est`, words: against.places }, places(card[end], pictures))),
    evidence({ text: "Tokens it responds to", words: against.token_q }, card.tokens, ["token", "effect, sd", "q", "documents"]),
    evidence({ text: "Pairs it responds to", words: against.bigram_q }, card.bigrams, ["pair", "effect, sd", "q", "documents"]),
    card.promoted ? part({ text: "Its output raises the logits of", words: against.promoted }, logits(card.promoted)) : null,
    card.suppressed ? part("and lowers those of", logits(card.suppressed)) : null);
}
