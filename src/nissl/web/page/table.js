// Every unit in a list: sorted by any column, filtered by any condition, found by what it reads.

const EACH = 20;
const table = { columns: [], shown: [], rows: [], total: 0, asked: 0 };

function tableSection() {
  const filter = el("input", { id: "where", type: "search", autocomplete: "off", spellcheck: "false", value: view.get("where") || "",
    "aria-describedby": "table-say", placeholder: units.token ? "density < 0.01 and pair ~ new york" : "density < 0.01 and kind = tuned" });
  const find = el("input", { id: "find", type: "search", autocomplete: "off", spellcheck: "false", value: view.get("find") || "", placeholder: "words it is high at" });
  const listen = (input) => input.addEventListener("input", () => { clearTimeout(table.wait); table.wait = setTimeout(() => { keep(input.id, input.value.trim()); listUnits(); }, 150); });
  [filter, find].forEach(listen);
  return el("section", { id: "list", "aria-labelledby": "list-title" },
    el("div", { class: "title-row" }, el("h2", { id: "list-title" }, "Every unit in a list"),
      el("div", { class: "controls" }, el("label", {}, "filter ", filter), data.texts ? el("label", {}, "text ", find) : null,
        el("details", { class: "columns" }, el("summary", {}, "columns"), el("div", { id: "columns" })),
        el("a", { id: "export", download: "units.csv" }, "export"))),
    el("p", { class: "say", id: "table-say", role: "status" }, "Reading the list …"),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The list" }, el("table", { class: "table", id: "units-table" }, el("thead"), el("tbody"))),
    el("p", { class: "more" }, el("button", { id: "more-units", type: "button", hidden: "" }, "Show more")));
}

function order() {
  return { sort: view.get("sort") || "", descending: view.get("up") !== "1" };
}

function question(offset, limit) {
  const { sort, descending } = order();
  return new URLSearchParams({ where: view.get("where") || "", sort, descending, offset, limit });
}

async function listUnits(more = false) {
  const mine = ++table.asked;
  const text = view.get("find");
  try {
    const found = await asked(text ? `api/find?${new URLSearchParams({ text, where: view.get("where") || "", limit: 200 })}` : `api/units?${question(more ? table.rows.length : 0, EACH)}`);
    if (mine !== table.asked) return; // an older question was slower
    table.rows = more ? [...table.rows, ...found.rows] : found.rows;
    table.total = found.total;
    table.broken = found.broken || table.broken;
    drawTable(text);
  } catch (error) {
    if (mine === table.asked) byId("table-say").textContent = error.message;
  }
}

// The list, filtered and sorted as somebody chose elsewhere on the page.
function showList({ where = "", find = "", sort = "" }) {
  keep("where", where);
  keep("find", find);
  for (const id of ["where", "find"]) if (byId(id)) byId(id).value = view.get(id) || "";
  if (sort) {
    keep("sort", sort);
    keep("up", "");
  }
  listUnits();
  byId("list").scrollIntoView();
  byId("list").querySelector(".scroll").focus({ preventScroll: true });
}

function drawTable(text) {
  const { sort, descending } = order();
  const columns = [...table.columns.filter((c) => table.shown.includes(c.name)), ...(text ? [{ name: "share", meaning: "part of its highest samples that end with the text", type: "number" }] : [])];
  const head = (c) => el("th", { scope: "col", title: c.meaning, class: c.type, "aria-sort": c.name === sort ? (descending ? "descending" : "ascending") : null },
    el("button", { type: "button", disabled: text ? "" : null, onclick: () => sortBy(c.name) }, c.name.replace(/_/g, " "), c.name === sort ? (descending ? " ↓" : " ↑") : ""));
  byId("units-table").tHead.replaceChildren(el("tr", {}, columns.map(head)));
  byId("units-table").tBodies[0].replaceChildren(...table.rows.map((row) => el("tr", {}, columns.map((c) => el("td", { class: c.type }, cell(c, row))))));
  byId("table-say").textContent = text ?
    `${plural(table.total, "unit")} ${table.total === 1 ? "is" : "are"} high where the text ends, the most often first.` :
    `${table.total.toLocaleString("en")} of ${plural(units.n, "unit")}.${(table.broken || []).map((what) => ` ${what}.`).join("")}`;
  byId("more-units").hidden = Boolean(text) || table.rows.length >= table.total;
  byId("export").href = `api/units.csv?${question(0, 0)}`;
}

function cell(column, row) {
  const value = row[column.name];
  if (column.name === "unit") return el("button", { class: "link", type: "button", onclick: () => openUnit(row.row) }, value);
  if (column.name === "kind") return [el("i", { class: "dot", style: `background:var(--k-${data.kinds.some((k) => k.name === value) ? value : "untested"})` }), value];
  if (column.name === "token" || column.name === "bigram") return value ? chip(value) : "";
  return column.type === "number" ? (typeof value === "boolean" ? String(value) : figure(value) + (Number.isFinite(value) ? column.unit || "" : "")) : String(value ?? "");
}

function sortBy(name) {
  const { sort, descending } = order();
  keep("up", sort === name && descending ? "1" : "");
  keep("sort", name);
  listUnits();
}

async function startTable() {
  table.columns = await asked("api/columns");
  const first = table.columns.filter((c) => c.shown).map((c) => c.name);
  table.shown = view.get("columns") ? view.get("columns").split(",") : first;
  byId("columns").replaceChildren(...table.columns.map((c) => el("label", { title: c.meaning }, el("input", { type: "checkbox", checked: table.shown.includes(c.name) ? "" : null,
    onchange: (event) => {
      table.shown = table.columns.map((o) => o.name).filter((name) => (name === c.name ? event.target.checked : table.shown.includes(name)));
      keep("columns", table.shown.join(","), first.join(","));
      drawTable(view.get("find"));
    } }), ` ${c.name.replace(/_/g, " ")}`)));
  byId("more-units").addEventListener("click", () => listUnits(true));
  return listUnits();
}
