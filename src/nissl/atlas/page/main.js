// The page: what is said at the top, the lists, the search, and drawing again when things change.

const PAGE = 8;
const list = { kind: null, shown: PAGE };

function writeHead() {
  byId("what").textContent = data.what;
  byId("title").textContent = data.title;
  byId("layers-title").textContent = `${data.group[0].toUpperCase()}${data.group.slice(1)} by ${data.group}`;
  if (!units.token) byId("search").placeholder = "Find a unit by its address";
  byId("intro").textContent = data.intro;
  byId("facts").append(...data.facts.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v))));
  byId("provenance").append(...data.provenance.map(([k, v]) => el("div", {}, el("dt", {}, k), el("dd", {}, v))));
  byId("notes-list").append(...data.notes.flatMap(([k, v]) => [el("dt", {}, k), el("dd", {}, v)]));
}

function drawKinds() {
  const present = data.kinds.filter((k) => k.count);
  byId("kinds-bar").replaceChildren(...present.map((k) => el("div", { title: `${k.name}: ${percent(k.count / units.n)}`,
    style: `background:var(--k-${k.name}, var(--accent));flex:${k.count}` })));
  byId("kinds-legend").replaceChildren(...present.map((k) => el("li", {}, el("i", { style: `background:var(--k-${k.name}, var(--accent))` }),
    el("span", {}, el("b", {}, k.name), ` ${k.count.toLocaleString("en")} · ${percent(k.count / units.n)}`), el("small", {}, k.meaning))));
}

function fillSelect() {
  byId("statistic").append(el("option", { value: "" }, "kind"),
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
    onclick: () => { list.kind = k.name === "all" ? null : k.name; list.shown = PAGE; fillTabs(); drawCards(); } }, k.name)));
  byId("tabs").hidden = tabs.length < 2;
}

function drawCards() {
  const kind = list.kind && data.kinds.findIndex((k) => k.name === list.kind);
  const wanted = data.cards.filter((c) => (list.kind === null ? c.lead : units.kind[c.row] === kind));
  byId("cards").replaceChildren(...wanted.slice(0, list.shown).map(smallCard));
  byId("more").parentElement.hidden = wanted.length <= list.shown;
  byId("selective-say").textContent = data.selective;
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

function matches(query) {
  const wanted = query.trim().toLowerCase();
  const pair = /^(\d+)[\s/.,:]+(\d+)$/.exec(wanted);
  const found = [];
  for (let row = 0; row < units.n && found.length < 8; row++) {
    const exact = pair && groups[units.site[row]].short === pair[1] && units.index[row] === Number(pair[2]);
    if (exact || (!pair && wanted.length > 1 && address(row).toLowerCase().includes(wanted))) found.push(row);
  }
  if (!units.token || found.length >= 8) return found;
  for (let row = 0; row < units.n && found.length < 8; row++)
    if (units.token[row] && data.strings[units.token[row]].trim().toLowerCase() === wanted) found.push(row);
  return found;
}

function liveSearch() {
  const input = byId("search"), box = byId("found");
  let at = 0, rows = [];
  const draw = () => {
    rows = matches(input.value);
    at = 0;
    box.hidden = !input.value;
    input.setAttribute("aria-expanded", String(!box.hidden));
    box.replaceChildren(...(rows.length ? rows.map((row, i) => el("li", { role: "option", "aria-selected": String(i === at),
      onpointerdown: (event) => { event.preventDefault(); choose(row); } }, el("span", {}, address(row)),
    el("span", {}, units.token && units.token[row] ? visible(data.strings[units.token[row]]) : data.kinds[units.kind[row]].name))) :
      [el("li", {}, el("span", {}, "nothing is called that"))]));
  };
  const choose = (row) => { box.hidden = true; input.blur(); openUnit(row); };
  input.addEventListener("input", draw);
  input.addEventListener("blur", () => { box.hidden = true; });
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && rows.length) choose(rows[at]);
    if (event.key === "Escape") box.hidden = true;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !rows.length) return;
    event.preventDefault();
    at = (at + step + rows.length) % rows.length;
    [...box.children].forEach((li, i) => li.setAttribute("aria-selected", String(i === at)));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !byId("unit").open && document.activeElement !== input) { event.preventDefault(); input.focus(); }
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
  const row = location.hash.length > 1 ? rowOf(decodeURIComponent(location.hash.slice(1))) : -1;
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
liveSearch();
openFromAddress();
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
byId("theme").addEventListener("click", () => setTheme(theme() === "dark" ? "light" : "dark"));
byId("statistic").addEventListener("change", () => { drawMap(); drawRidge(); });
byId("order").addEventListener("change", drawMap);
byId("more").addEventListener("click", () => { list.shown += 2 * PAGE; drawCards(); });
byId("unit").addEventListener("click", (event) => { if (event.target === byId("unit")) byId("unit").close(); });
byId("unit").addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
window.addEventListener("hashchange", openFromAddress);
let waiting = 0;
window.addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(drawSized); });
