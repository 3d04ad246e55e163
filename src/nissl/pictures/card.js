// What is known of a unit: the pictures of the others, put together.
//
// card: { kind, reason?, measure, figures: rows of label, value and meaning, neighbours?: pairs of unit and r,
// histogram?, edges?, tuning?, map?, high?, low?, sign, tokens?, bigrams?, promoted?, suppressed? }

function part(title, ...content) {
  const kept = content.flat().filter(Boolean);
  return kept.length ? el("div", {}, el("h3", {}, title), kept) : null;
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
  const { measure } = card, whole = measure.startsWith("spikes");
  const name = (unit) => (onopen ? el("button", { class: "link", type: "button", onclick: () => onopen(unit) }, unit) : unit);
  return el("div", {},
    card.histogram ? part(`Histogram of ${whole ? measure : `activity${measure ? `, ${measure}` : ""}`}; counts logarithmic`, histogram(card.histogram, card.edges, { wide: 272, tall: 80, labels: true, whole })) : null,
    part("Figures", figures(card.figures)),
    card.neighbours ? part("Nearest in activity", figures(card.neighbours.map(([unit, r]) => [name(unit), figure(r, 2)]))) : null);
}

// Where it is highest and what it answers; `room` in pixels, `pictures` as of images.
function detail(card, { room, ...pictures }) {
  const logits = (list) => el("div", { class: "chips" }, list.map(([t, v]) => el("span", { title: figure(v) }, chip(t))));
  return el("div", {}, (card.tuning || []).map((c) => part(`Tuning to ${c.name}: ${c.says}; grey is the null`, tuningCurve(c, { room }))),
    card.map ? part(`Over ${card.map.names.join(" and ")}: mean activity where there were samples, smoothed by one bin; not tested`, rateMap(card.map)) : null,
    // The end at which it is what it is stands first.
    (card.sign < 0 ? ["low", "high"] : ["high", "low"]).map((end) => card[end] && part(`Where it is ${end}est`, places(card[end], pictures))),
    evidence("Tokens it responds to", card.tokens, ["token", "effect, sd", "q", "documents"]),
    evidence("Pairs it responds to", card.bigrams, ["pair", "effect, sd", "q", "documents"]),
    card.promoted ? part("Its output raises the logits of", logits(card.promoted)) : null,
    card.suppressed ? part("and lowers those of", logits(card.suppressed)) : null);
}
