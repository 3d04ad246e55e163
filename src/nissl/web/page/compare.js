// A second atlas beside the first: units in pairs, as a picture, by kind, in a list, and side by side.

const compared = { state: null, rows: [], total: 0, asked: 0, points: null, cells: null, at: null };
const BOTH = ["first", "second"];

function compareSection() {
  const filter = el("input", { id: "pairs", type: "search", autocomplete: "off", spellcheck: "false", value: view.get("pairs") || "",
    "aria-describedby": "pairs-say", placeholder: "kind = token and b.kind != token" });
  filter.addEventListener("input", () => { clearTimeout(compared.wait); compared.wait = setTimeout(() => { keep("pairs", filter.value.trim()); readPairs(); }, 150); });
  return el("section", { id: "compare", "aria-labelledby": "compare-title" },
    el("h2", { id: "compare-title" }, "Compare"),
    el("p", { class: "say", id: "compare-say", role: "status" }, "Matching the units of the two atlases …"),
    el("div", { id: "compare-found", hidden: "" },
      el("p", { class: "say" }, el("b", {}, "Against what? "), el("span", { id: "compare-against" })),
      el("div", { class: "title-row" },
        el("div", { class: "controls" }, el("label", {}, "column ", el("select", { id: "x", onchange: (event) => { keep("x", event.target.value, compared.state.numbers[0].name); readPairs(); } })), el("label", {}, "filter ", filter)),
        el("a", { id: "pairs-export", download: "pairs.csv" }, "export")),
      el("p", { class: "say", id: "pairs-say", role: "status" }),
      el("div", { class: "two" },
        el("figure", {}, el("figcaption", { id: "scatter-say" }), el("canvas", { id: "scatter", tabindex: "0", role: "img" })),
        el("figure", {}, el("figcaption", {}, "Kinds of units: rows in the first atlas, columns in the second. A number filters by it."),
          el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Kinds in both atlases" }, el("table", { class: "table", id: "confusion" }, el("thead"), el("tbody"))))),
      el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The pairs" }, el("table", { class: "table", id: "pairs-table" }, el("thead"), el("tbody"))),
      el("p", { class: "more" }, el("button", { id: "more-pairs", type: "button", hidden: "", onclick: () => listPairs(true) }, "Show more"))),
    el("dialog", { id: "pair", "aria-labelledby": "pair-title", onclick: (event) => { if (event.target.id === "pair") event.target.close(); }, onclose: () => keep("pair", "") }));
}

async function startCompare() {
  try {
    for (compared.state = await asked("api/beside"); !compared.state.ready; compared.state = await asked("api/beside")) {
      byId("compare-say").textContent = compared.state.says;
      await new Promise((go) => setTimeout(go, 300));
    }
  } catch (error) {
    byId("compare-say").textContent = error.message;
    return;
  }
  const { says, against, numbers } = compared.state;
  byId("compare-say").textContent = says;
  byId("compare-against").textContent = against;
  byId("x").replaceChildren(...numbers.map((s) => el("option", { value: s.name }, s.label)));
  if (numbers.some((s) => s.name === view.get("x"))) byId("x").value = view.get("x");
  byId("compare-found").hidden = false;
  drawConfusion();
  listenToScatter();
  await readPairs();
  if (view.get("pair") !== null) openPair(Number(view.get("pair")));
}

// At first, what was matched is sorted by how well; what has one address in both, by how badly.
const pairOrder = () => (view.has("by") ? { by: view.get("by"), up: view.get("by-up") === "1" } : compared.state.order);

// What is asked: the filter, and in which order.
function pairsQuestion(offset, limit) {
  const { by, up } = pairOrder();
  return new URLSearchParams({ where: view.get("pairs") || "", sort: by, descending: !up, offset, limit });
}

async function readPairs() {
  const mine = (compared.reading = (compared.reading || 0) + 1);
  const shown = listPairs();
  try {
    const { a, b, pair } = await asked(`api/beside/points?${new URLSearchParams({ column: byId("x").value, where: view.get("pairs") || "" })}`);
    if (mine !== compared.reading) return;
    compared.points = { a: floats(a), b: floats(b), pair: new Uint32Array(bytes(pair).buffer) };
    drawScatter();
  } catch {
    // The list, which is asked the same, says what was not understood.
  }
  return shown;
}

async function listPairs(more = false) {
  const mine = ++compared.asked;
  try {
    const found = await asked(`api/beside/pairs?${pairsQuestion(more ? compared.rows.length : 0, EACH)}`);
    if (mine !== compared.asked) return;
    compared.rows = more ? [...compared.rows, ...found.rows] : found.rows;
    compared.total = found.total;
    drawPairs();
  } catch (error) {
    if (mine === compared.asked) byId("pairs-say").textContent = error.message;
  }
}

// Those that are always told, and the column of the picture on both sides.
function pairColumns() {
  const x = byId("x").value, wanted = [x, `b.${x}`, `change.${x}`];
  return compared.state.columns.filter((c) => c.shown || wanted.includes(c.name)).sort((c, d) => wanted.indexOf(c.name) - wanted.indexOf(d.name));
}

function drawPairs() {
  const { by, up } = pairOrder(), columns = pairColumns();
  byId("pairs-table").tHead.replaceChildren(el("tr", {}, columns.map((c) => el("th", { scope: "col", title: c.meaning, class: c.type, "aria-sort": c.name === by ? (up ? "ascending" : "descending") : null },
    el("button", { type: "button", onclick: () => sortPairs(c.name) }, c.name.replace(/_/g, " "), c.name === by ? (up ? " ↑" : " ↓") : "")))));
  byId("pairs-table").tBodies[0].replaceChildren(...compared.rows.map((row) => el("tr", {}, columns.map((c) => el("td", { class: c.type }, pairCell(c, row))))));
  byId("pairs-say").textContent = `${compared.total.toLocaleString("en")} of ${plural(compared.state.n, "pair")}. b. is the second atlas, change. the second less the first.`;
  byId("more-pairs").hidden = compared.rows.length >= compared.total;
  byId("pairs-export").href = `api/beside/pairs.csv?${pairsQuestion(0, 0)}`;
}

function pairCell(column, row) {
  const value = row[column.name], plain = column.name.replace(/^b\./, "");
  if (column.name === "unit") return el("button", { class: "link", type: "button", onclick: () => openPair(row.row) }, value);
  if (column.name === "partner" || plain === "unit") return value;
  return cell({ ...column, name: plain }, { [plain]: value });
}

function sortPairs(name) {
  const { by, up } = pairOrder();
  keep("by-up", by === name && !up ? "1" : "");
  keep("by", name);
  listPairs().then(() => { const button = byId("pairs-table").querySelector("th[aria-sort] button"); if (button) button.focus(); });
}

function filterPairs(where) {
  byId("pairs").value = where;
  keep("pairs", where);
  readPairs();
}

function drawConfusion() {
  const { kinds } = compared.state, names = data.kinds.map((k) => k.name);
  const present = (side) => names.filter((name) => kinds.some((k) => k[side] === name));
  const dot = (name) => [el("i", { class: "dot", style: `background:var(--k-${name})` }), name];
  byId("confusion").tHead.replaceChildren(el("tr", {}, el("td", {}), present("b").map((name) => el("th", { scope: "col" }, dot(name)))));
  byId("confusion").tBodies[0].replaceChildren(...present("a").map((a) => el("tr", {}, el("th", { scope: "row" }, dot(a)), present("b").map((b) => {
    const found = kinds.find((k) => k.a === a && k.b === b);
    return el("td", { class: a === b ? "same" : null }, found ? el("button", { class: "link", type: "button", "aria-label": `${plural(found.n, "pair")}: ${a} in the first, ${b} in the second`,
      onclick: () => filterPairs(`kind = ${a} and b.kind = ${b}`) }, found.n.toLocaleString("en")) : "·");
  }))));
}

// The span of both sides together, without the outermost thousandths of many.
function bothSpan() {
  const { a, b } = compared.points, { scale } = compared.state.numbers.find((s) => s.name === byId("x").value);
  let log = scale === "log" || scale === "significance";
  const all = [...a, ...b].filter((x) => Number.isFinite(x) && (!log || x > 0)).sort((x, y) => x - y);
  const edge = all.length > 2000 ? 0.001 : 0, at = (q) => all[Math.min(all.length - 1, Math.floor(q * all.length))];
  let [low, high] = all.length ? [at(edge), at(1 - edge)] : [0, 1];
  if (log && high < 100 * low) log = false;
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - 1, high + 1];
  const scaled = log ? (x) => (x > 0 ? Math.log(x) : NaN) : (x) => x;
  const place = log ? (x) => (x > 0 ? Math.log(x / low) / Math.log(high / low) : 0) : (x) => (x - low) / (high - low);
  const value = log ? (t) => low * (high / low) ** t : (t) => low + t * (high - low);
  return { low, high, log, scaled, place, value };
}

// Each cell is as many pairs as lie there; what lies beyond is at the edge.
function drawScatter() {
  if (!compared.points) return;
  const canvas = byId("scatter"), size = Math.min(460, canvas.parentElement.clientWidth), left = 54, foot = 34, side = size - left - 6;
  const few = compared.points.a.length <= 2000, n = Math.floor(side / (few ? 6 : 4)), each = side / n;
  const axis = bothSpan(), cells = new Map(), { a, b, pair } = compared.points;
  const bin = (x) => Math.min(n - 1, Math.max(0, Math.floor(axis.place(x) * n)));
  for (let i = 0; i < a.length; i++) {
    if (!Number.isFinite(a[i]) || !Number.isFinite(b[i])) continue;
    const key = bin(a[i]) + n * bin(b[i]);
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(i);
  }
  const ratio = Math.max(1, Math.round(window.devicePixelRatio || 1)), pen = canvas.getContext("2d");
  Object.assign(canvas, { width: size * ratio, height: (side + foot) * ratio });
  Object.assign(canvas.style, { width: `${size}px`, height: `${side + foot}px` });
  pen.scale(ratio, ratio);
  pen.strokeStyle = css("--line");
  pen.strokeRect(left, 0.5, side, side);
  const most = Math.max(1, ...[...cells.values()].map((c) => c.length)), ink = ramp(SEQUENTIAL[theme()]);
  for (const [key, members] of cells) {
    pen.fillStyle = `rgb(${ink(0.4 + 0.6 * (most > 1 ? Math.log(members.length) / Math.log(most) : 1)).join(" ")})`;
    pen.fillRect(left + (key % n) * each, side - (Math.floor(key / n) + 1) * each, each, each);
  }
  pen.strokeStyle = css("--soft");
  pen.setLineDash([4, 4]);
  pen.beginPath();
  pen.moveTo(left, side);
  pen.lineTo(left + side, 0);
  pen.stroke();
  pen.font = `11px ${css("--sans")}`;
  pen.fillStyle = css("--soft");
  const text = (said, x, y, align) => { pen.textAlign = align; pen.fillText(said, x, y); };
  text(figure(axis.low), left, side + 14, "left");
  text(figure(axis.high), left + side, side + 14, "right");
  text("first", left + side / 2, side + 28, "center");
  text(figure(axis.low), left - 5, side, "right");
  text(figure(axis.high), left - 5, 10, "right");
  pen.save();
  pen.translate(12, side / 2);
  pen.rotate(-Math.PI / 2);
  text("second", 0, 0, "center");
  pen.restore();
  compared.cells = { cells, n, each, left, side, axis };
  if (compared.at !== null && !cells.has(compared.at)) compared.at = null;
  const label = byId("x").selectedOptions[0].textContent, r = correlation(a.map(axis.scaled), b.map(axis.scaled));
  byId("scatter-say").textContent = `${label[0].toUpperCase()}${label.slice(1)} of the pairs, ${theme() === "dark" ? "lighter" : "darker"} where there are more ` +
    `(at most ${most.toLocaleString("en")} in a cell)${axis.log ? "; logarithmic, and so is r" : ""}. r = ${figure(r, 2)}.`;
  canvas.setAttribute("aria-label", `${label} of ${plural(a.length, "pair")}, the first atlas against the second; correlation ${figure(r, 2)}. Arrow keys move, Enter opens.`);
}

function correlation(a, b) {
  let n = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;
  for (let i = 0; i < a.length; i++) {
    if (!Number.isFinite(a[i]) || !Number.isFinite(b[i])) continue;
    n++; x += a[i]; y += b[i]; xx += a[i] * a[i]; yy += b[i] * b[i]; xy += a[i] * b[i];
  }
  return (n * xy - x * y) / Math.sqrt((n * xx - x * x) * (n * yy - y * y));
}

function scatterTip(key) {
  const { cells, n, each, left, side } = compared.cells, members = cells.get(key), { a, b } = compared.points;
  const box = byId("scatter").getBoundingClientRect(), one = members[0];
  placeTip([el("b", {}, plural(members.length, "pair")), el("span", {}, `${figure(a[one])} in the first, ${figure(b[one])} in the second${members.length > 1 ? ", among others" : ""}`)],
    box.left + left + (key % n) * each, box.top + side - Math.floor(key / n) * each);
}

// One pair opens; of more, the list shows them.
function openCell(key) {
  const { cells, n, axis } = compared.cells, members = cells.get(key), x = byId("x").value;
  if (members.length === 1) return openPair(compared.points.pair[members[0]]);
  const ends = (name, i) => [i > 0 && `${name} >= ${Number(axis.value(i / n).toPrecision(6))}`, i < n - 1 && `${name} < ${Number(axis.value((i + 1) / n).toPrecision(6))}`];
  filterPairs([...ends(x, key % n), ...ends(`b.${x}`, Math.floor(key / n))].filter(Boolean).join(" and "));
}

function listenToScatter() {
  const canvas = byId("scatter");
  const under = ({ offsetX, offsetY }) => {
    if (!compared.cells) return null;
    const { cells, n, each, left, side } = compared.cells, i = Math.floor((offsetX - left) / each), k = Math.floor((side - offsetY) / each);
    // The nearest cell with pairs, up to a finger's width.
    let best = null, least = 2.5;
    for (let di = -2; di <= 2; di++) for (let dk = -2; dk <= 2; dk++) {
      const inside = i + di >= 0 && i + di < n && k + dk >= 0 && k + dk < n, far = Math.hypot(di, dk);
      if (inside && far < least && cells.has(i + di + n * (k + dk))) [best, least] = [i + di + n * (k + dk), far];
    }
    return best;
  };
  canvas.addEventListener("pointermove", (event) => { const key = under(event); key === null ? placeTip(null) : scatterTip(key); });
  for (const away of ["pointerleave", "blur"]) canvas.addEventListener(away, () => placeTip(null));
  canvas.addEventListener("click", (event) => { const key = under(event); if (key !== null) openCell(key); });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (event.key === "Enter" && compared.at !== null) openCell(compared.at);
    if (!step || !compared.cells || !compared.cells.cells.size) return;
    event.preventDefault();
    compared.at = nextCell(compared.at, step);
    scatterTip(compared.at);
  });
  new MutationObserver(drawScatter).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  window.addEventListener("resize", () => requestAnimationFrame(drawScatter));
}

// The nearest cell with pairs on that side; the one where it is, where there is none.
function nextCell(from, [across, up]) {
  const { cells, n } = compared.cells;
  if (from === null) return [...cells.keys()].sort((p, q) => cells.get(q).length - cells.get(p).length)[0];
  let best = from, least = Infinity;
  for (const key of cells.keys()) {
    const i = (key % n) - (from % n), k = Math.floor(key / n) - Math.floor(from / n), ahead = i * across + k * up, beside = Math.abs(i * up) + Math.abs(k * across);
    if (ahead > 0 && ahead + 3 * beside < least) [best, least] = [key, ahead + 3 * beside];
  }
  return best;
}

async function openPair(row) {
  const sheet = byId("pair");
  keep("pair", row);
  const close = el("button", { class: "close", type: "button", "aria-label": "Close", onclick: () => sheet.close() }, "×");
  const fill = (title, ...content) => sheet.replaceChildren(el("div", { class: "sheet", tabindex: "-1", autofocus: "" }, el("header", {}, el("h2", { id: "pair-title" }, title), close), content));
  fill(`Pair ${row}`, el("p", { class: "none", role: "status" }, "Reading both units …"));
  if (!sheet.open) sheet.showModal();
  try {
    const pair = await asked(`api/beside/pair/${row}`);
    const cards = await Promise.all([asked(`api/unit/${pair.rows[0]}`), asked(`api/beside/unit/${pair.rows[1]}`)]);
    if (view.get("pair") !== String(row)) return;
    fill(`${pair.unit} – ${pair.partner}`, pairFigures(pair), el("div", { class: "two", id: "pair-sides" }, cards.map((told, i) => pairSide(pair, told, i))));
    sheet.querySelector(".sheet").focus();
  } catch (error) {
    fill(`Pair ${row}`, el("p", { class: "none", role: "status" }, error.message));
  }
}

// Numbers and words of both; what differs is marked and says so.
function pairFigures({ scores, words, numbers }) {
  const line = (label, a, b, differs, meaning) => el("tr", { class: differs ? "differs" : null, title: meaning }, el("th", { scope: "row" }, label), [a, b, differs || ""].map((x) => el("td", {}, x)));
  const said = (word) => (word ? chip(word) : "–");
  return el("div", {},
    el("p", { class: "say" }, scores.map(([name, value]) => `${name} ${figure(value)}`).join(" · ")),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Figures of both units" }, el("table", { class: "table", id: "pair-figures" },
      el("thead", {}, el("tr", {}, el("td", {}), BOTH.map((name) => el("th", { scope: "col" }, name)), el("th", { scope: "col", title: "changed more than in 95% of the pairs, or another word" }, "differs"))),
      el("tbody", {}, words.map(({ name, a, b }) => line(name, said(a), said(b), a === b ? "" : "other")),
        numbers.map((s) => line(s.label, shown(s, s.a ?? NaN), shown(s, s.b ?? NaN), s.marked ? (s.b > s.a ? "more" : "less") : "", s.meaning))))));
}

// One unit of the pair, as the page tells every unit; the places of both are marked.
function pairSide(pair, { card, strings }, i) {
  const worded = (list) => list && list.map((c) => (c.t ? { ...c, t: c.t.map((token) => strings[token]) } : c));
  const kind = (pair.words.find((w) => w.name === "kind") || {})[i ? "b" : "a"], measure = pair.measures[i];
  const told = { ...card, kind, measure, high: worded(card.high), low: worded(card.low) }, { high, ...rest } = told;
  const pictures = i ? { source: pair.suffix && ((s) => `${pair.folder}/${s}${pair.suffix}`), tiny: pair.suffix === ".png" } : pictured;
  const shared = new Set(pair.samples), placesShown = high && places(high, pictures);
  if (placesShown) high.forEach((c, k) => {
    if (!shared.has(c.i)) return;
    placesShown.children[k].classList.add("shared");
    placesShown.children[k].querySelector(".v").append(el("small", {}, "both"));
  });
  const name = i ? pair.partner : pair.unit;
  return el("div", {}, el("h3", {}, compared.state.names[i]),
    el("p", { class: "address" }, i ? name : el("button", { class: "link", type: "button", onclick: () => { byId("pair").close(); openUnit(pair.rows[0]); } }, name)), reason(told),
    card.histogram ? part("Histogram of activity; counts logarithmic", el("div", { class: "histogram" }, histogram(card.histogram, card.edges, { wide: 272, tall: 80, labels: true, whole: measure.startsWith("spikes") }))) : null,
    high ? part(`Where it is highest${shared.size ? `; at ${plural(shared.size, "place")} both are` : ""}`, placesShown) : null,
    detail(rest, { room: roomFor(innerWidth > 860 ? 420 : 560), ...pictures }));
}
