// One unit: the small card in the list, and the sheet that opens over the page.

// As the pictures take it: texts, names and figures in place of numbers of this page.
function told(row, open = false) {
  const card = cardOf.get(row) || {};
  const worded = (list) => list && list.map((c) => (c.t ? { ...c, t: c.t.map((token) => data.strings[token]) } : c));
  const kind = data.kinds[units.kind[row]], against = data.against || {};
  const beside = (s) => ({ spread: standing(placeAmong(s, row)), words: `${ranked(s, row)} ${against[s.name] || ""}` });
  return { ...card, kind: kind.name, meaning: kind.meaning, against, measure: data.measure, high: worded(card.high), low: worded(card.low),
    statistics: data.statistics.filter((s) => !Number.isNaN(s.values[row])).map((s) => ({ ...s, value: s.values[row], beside: open && (() => beside(s)) })),
    neighbours: card.neighbours && card.neighbours.map(([other, r]) => [address(other), r]) };
}

const { folder: ofPictures, suffix } = data.pictures;
const pictured = { source: suffix && ((s) => `${ofPictures}/${s}${suffix}`), tiny: suffix === ".png" };
// As wide as there is room, so that its text keeps its size on a phone.
const roomFor = (most) => Math.min(most, innerWidth - 90);

function smallCard({ row }) {
  const card = told(row), telling = card.sign < 0 ? card.low : card.high;
  return el("article", { class: "card", onclick: () => openUnit(row) },
    el("header", {}, el("div", {}, el("button", { class: "address", type: "button" }, address(row)), reason(card)),
      card.histogram && histogram(card.histogram, card.edges)),
    card.tuning && card.tuning.length ? tuningCurve(card.tuning[0], { room: roomFor(480), tall: 84 }) : null,
    telling && telling.some((c) => c.t) ? places(telling.slice(0, 4), { aligned: true }) : null,
    telling && telling[0].s !== undefined ? images(telling.slice(0, 6), pictured) : null,
    writes(card));
}

// What the explorer adds to a unit: functions of its row that make an element.
const unitTools = [];
// And of the parts below what is known of it.
const unitParts = [];

function openUnit(row) {
  const known = cardOf.has(row), card = told(row, true);
  const sheet = byId("unit"), focused = document.activeElement;
  // What was written while the rest was fetched stays.
  const tools = (sheet.open && unitMap.chosen === row && sheet.querySelector(".tools")) || el("div", { class: "tools" }, unitTools.map((tool) => tool(row)));
  unitMap.chosen = row;
  const left = summary(card, (unit) => openUnit(rowOf(unit)));
  const right = known ? detail(card, { room: roomFor(560), ...pictured }) : el("div", {}, el("p", { class: "none" }, "Reading what is beside this page …"));
  if (known) right.append(...unitParts.map((make) => make(row)).filter(Boolean));
  const close = el("button", { class: "close", type: "button", "aria-label": "Close", onclick: () => sheet.close() }, "×");
  sheet.replaceChildren(el("div", { class: "sheet", tabindex: "-1", autofocus: "" }, el("header", {}, el("div", {}, el("h2", { id: "unit-title" }, address(row)), reason(card),
    (card.broken || []).map((what) => el("p", { class: "none" }, what)), tools), close),
    el("div", { class: "grid" }, left, right)));
  const place = `#${encodeURIComponent(address(row))}`;
  // One step of the history for an open unit, whichever is looked at: Back leads to the page.
  const direct = Boolean(history.state && history.state.direct) || (location.hash === place && !sheet.open && !history.state);
  history[sheet.open || location.hash === place ? "replaceState" : "pushState"]({ unit: true, direct }, "", place);
  if (!sheet.open) sheet.showModal();
  sheet.scrollTop = 0;
  if (tools.contains(focused)) focused.focus();
  if (!known) loadUnits(row, right);
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
