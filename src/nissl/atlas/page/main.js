// The page: what is said at the top, the lists, the search, and drawing again when things change.

const PAGE = 8;
const list = { kind: null, shown: PAGE };

function writeHead() {
  byId("layers-title").textContent = `${data.group[0].toUpperCase()}${data.group.slice(1)} by ${data.group}`;
  if (!units.token) byId("search").placeholder = "Find a unit by its address";
  byId("provenance").append(...data.provenance.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v))));
  byId("notes-list").append(...data.notes.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]));
}

function drawKinds() {
  byId("kinds-bar").replaceChildren(...kindsBar(data.kinds));
  byId("kinds-legend").replaceChildren(...kindsLegend(data.kinds, (k) => el("button", { type: "button", "aria-pressed": String(list.kind === k.name),
    title: `Show ${k.name} units alone`, onclick: () => choose(list.kind === k.name ? null : k.name) })));
}

// One kind alone, in the map and in the list; all again with null.
function choose(kind) {
  const legend = byId("kinds-legend"), at = [...legend.children].findIndex((li) => li.contains(document.activeElement));
  list.kind = kind;
  list.shown = PAGE;
  fillTabs();
  drawKinds();
  if (at >= 0) legend.children[at].firstChild.focus(); // it was drawn anew
  drawMap();
  drawCards();
}

function fillSelect() {
  byId("statistic").append(el("option", { value: "" }, "kind"),
    ...data.categories.map((c) => el("option", { value: `prefers ${c.name}` }, c.label)),
    ...data.statistics.map((s) => el("option", { value: s.name }, s.label)));
  if (hasSpace) byId("order").append(el("option", { value: "space" }, "in space"));
  if (hasSpace && placesIn(1000).radius >= 5) byId("order").value = "space";
  const first = statisticOf.tuning_effect || statisticOf.density;
  if (first) byId("statistic").value = first.name;
}

function fillTabs() {
  const kinds = data.kinds.filter((k) => data.cards.some((c) => units.kind[c.row] === data.kinds.indexOf(k)));
  const tabs = [{ name: "all" }, ...(kinds.length > 1 ? kinds : [])];
  byId("tabs").replaceChildren(...tabs.map((k) => el("button", { type: "button", "aria-pressed": String((list.kind || "all") === k.name),
    onclick: () => choose(k.name === "all" ? null : k.name) }, k.name)));
  byId("tabs").hidden = tabs.length < 2;
}

function drawCards() {
  const kind = list.kind && data.kinds.findIndex((k) => k.name === list.kind);
  const wanted = data.cards.filter((c) => (list.kind === null ? c.lead : units.kind[c.row] === kind));
  byId("cards").replaceChildren(...wanted.slice(0, list.shown).map(smallCard));
  byId("more").parentElement.hidden = wanted.length <= list.shown;
  const many = list.kind === null ? units.n : data.kinds[kind].count;
  byId("selective-say").textContent = `${data.selective} Shown are ${Math.min(list.shown, wanted.length).toLocaleString("en")} of ` +
    `${wanted.length.toLocaleString("en")} that are told in full, of ${plural(many, list.kind === null ? "unit" : `${list.kind} unit`)}.`;
}

function drawDead() {
  const dead = data.kinds.findIndex((k) => k.name === "dead");
  const total = dead < 0 ? 0 : data.kinds[dead].count;
  byId("dead-say").textContent = (total ? `${plural(total, "unit")} of ${units.n.toLocaleString("en")}. ` : "None here. ") + data.silent;
  byId("dead-list").replaceChildren(...groups.map((group) => [group, group.rows.filter((r) => units.kind[r] === dead)])
    .filter(([, rows]) => rows.length).map(([group, rows]) => deadRow(group, rows)));
}

function deadRow(group, rows) {
  const links = (some) => some.flatMap((r, i) => [i ? ", " : "", el("button", { type: "button", onclick: () => openUnit(r) }, String(units.index[r]))]);
  const rest = rows.length > 8 ? el("button", { type: "button" }, ` and ${rows.length - 8} more`) : null;
  const text = el("span", {}, links(rows.slice(0, 8)), rest);
  if (rest) rest.addEventListener("click", () => text.replaceChildren(...links(rows)));
  return el("div", {}, el("b", {}, group.long), text);
}

// As the page writes a token: a dot for the space before it, marks for line breaks.
const plain = (text) => visible(text).replace(/·/g, " ").trim().toLowerCase();

// What is searched in: addresses, "3/812", "layer 5", and what units prefer; the strongest first.
function matches(query) {
  const wanted = plain(query);
  if (!wanted) return [];
  const place = /^(\d+)[\s/.,:]+(\d+)$/.exec(wanted);
  const inGroup = groups.map((g) => [g.long, g.name, `${data.group} ${g.short}`].some((n) => n.toLowerCase() === wanted));
  const texts = data.strings.map(plain);
  const effects = { token: statisticOf.token_effect, bigram: statisticOf.bigram_effect, language: statisticOf.language_effect };
  const preferred = data.categories.map((c) => c.levels.map(plain).indexOf(wanted) + 1);
  const tuning = statisticOf.tuning_effect;
  const found = [];
  for (let row = 0; row < units.n; row++) {
    const exact = place && groups[units.site[row]].short === place[1] && units.index[row] === Number(place[2]);
    const named = !place && wanted.length > 1 && address(row).toLowerCase().includes(wanted);
    const why = ["token", "bigram", "language"].filter((name) => units[name] && units[name][row] && texts[units[name][row]] === wanted);
    const tuned = data.categories.some((c, i) => preferred[i] && c.codes[row] === preferred[i]);
    if (!exact && !named && !why.length && !tuned && !inGroup[units.site[row]]) continue;
    const sizes = tuned ? [tuning ? tuning.values[row] : 0] : (why.length ? why : ["token"]).map((name) => (effects[name] ? Math.abs(effects[name].values[row]) || 0 : 0));
    found.push({ row, why, rank: exact || address(row).toLowerCase() === wanted ? Infinity : Math.max(...sizes) });
  }
  return found.sort((x, y) => y.rank - x.rank || x.row - y.row);
}

function preferredText(row, name = "token") {
  return units[name] && units[name][row] ? visible(data.strings[units[name][row]]) : "";
}

// What may be chosen for a text: {text, says, go}, and under them a line; the explorer finds more.
const searching = { options: (text) => unitOptions(text, 30), none: "nothing is called that, nor prefers it" };

function unitOptions(text, most) {
  const all = matches(text), shown = all.slice(0, most).map(({ row, why }) =>
    ({ row, text: address(row), says: preferredText(row, why[0]) || data.kinds[units.kind[row]].name, go: () => openUnit(row) }));
  return { options: shown, count: all.length > 1 ? `${plural(all.length, "unit")}${all.length > most ? `, the strongest ${most} shown` : ", the strongest first"}` : "" };
}

function liveSearch() {
  const input = byId("search"), box = byId("found");
  let at = 0, turn = 0, options = [];
  const hide = () => {
    turn++;
    box.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };
  const mark = () => {
    [...box.querySelectorAll("[role=option]")].forEach((li, i) => li.setAttribute("aria-selected", String(i === at)));
    if (options.length) input.setAttribute("aria-activedescendant", `found-${at}`);
    else input.removeAttribute("aria-activedescendant");
  };
  const draw = () => {
    const mine = ++turn, found = input.value.trim() ? searching.options(input.value) : hide();
    if (!found) return;
    if (!found.then) return show(found);
    const now = (what) => mine === turn && show(what); // else an older text was slower
    const late = setTimeout(now, 400, { options: [], none: "looking …" });
    found.then((later) => { clearTimeout(late); now(later); });
  };
  const show = (found) => {
    options = found.options;
    at = 0;
    box.hidden = false;
    input.setAttribute("aria-expanded", "true");
    box.replaceChildren(...options.map((option, i) => el("li", { role: "option", id: `found-${i}`, onpointerdown: (event) => { event.preventDefault(); choose(option); } },
      el("span", {}, option.text), el("span", {}, option.says))));
    if (!options.length || found.count) box.append(el("li", { class: "count" }, el("span", {}, options.length ? found.count : found.none || searching.none)));
    mark();
  };
  const choose = (option) => { hide(); input.blur(); option.go(); };
  input.addEventListener("input", draw);
  input.addEventListener("blur", hide);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !box.hidden && options.length) choose(options[at]);
    if (event.key === "Escape") hide();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !options.length) return;
    event.preventDefault();
    at = (at + step + options.length) % options.length;
    mark();
    byId(`found-${at}`).scrollIntoView({ block: "nearest" });
  });
  document.addEventListener("keydown", (event) => {
    const writing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !byId("unit").open && !writing) { event.preventDefault(); input.focus(); }
  });
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  drawAll();
}

function drawSized() {
  drawMap();
  drawRidge();
  drawStack();
}

function drawAll() {
  drawKinds();
  drawSized();
  drawCards();
}

function openFromAddress() {
  let row = -1;
  try {
    if (location.hash.length > 1) row = rowOf(decodeURIComponent(location.hash.slice(1)));
  } catch { /* no address of a unit */ }
  if (row >= 0) openUnit(row);
}

const dark = matchMedia("(prefers-color-scheme: dark)");
document.documentElement.dataset.theme = dark.matches ? "dark" : "light";
writeHead();
fillSelect();
fillTabs();
drawAll();
drawDead();
listenToMap();
listenToZoom();
liveSearch();
openFromAddress();
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
byId("theme").addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark"));
byId("statistic").addEventListener("change", () => { drawMap(); drawRidge(); });
byId("order").addEventListener("change", drawMap);
byId("more").addEventListener("click", () => { list.shown += 2 * PAGE; drawCards(); });
byId("unit").addEventListener("click", (event) => { if (event.target === byId("unit")) byId("unit").close(); });
byId("unit").addEventListener("close", () => {
  if (!history.state || !history.state.unit) return;
  if (history.state.direct) history.replaceState(null, "", location.pathname + location.search);
  else history.back();
});
// Back closes an open unit, and forward opens it again.
window.addEventListener("popstate", () => {
  if (location.hash.length > 1) openFromAddress();
  else if (byId("unit").open) byId("unit").close();
});
let waiting = 0;
window.addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(drawSized); });
