// Tables: figures with their names, evidence with effect and q, and any other.

// A button that says in words what a figure is compared with, and the box that it opens.
function againstWhat(label, words, boxOf = (note) => note) {
  const box = boxOf(el("p", { class: "against" }, words));
  box.hidden = true;
  const button = el("button", { class: "ask", type: "button", title: "Against what?", "aria-label": `${label}: against what?`, "aria-expanded": "false", onclick: () => {
    box.hidden = !box.hidden;
    button.setAttribute("aria-expanded", String(!box.hidden));
  } }, "?");
  return { button, box };
}

// Rows of label, value, meaning and, where they are known, { spread, words }: a picture, and what it is compared with.
function figures(rows) {
  const more = rows.some(([, , , beside]) => beside);
  return el("table", { class: more ? "pairs asked" : "pairs" }, el("tbody", {}, rows.map(([label, value, meaning, { spread, words } = {}]) => {
    const asked = words && againstWhat(label, words, (note) => el("tr", {}, el("td", { colspan: 4 }, note)));
    return [el("tr", { title: meaning }, el("th", { scope: "row" }, label), more && el("td", {}, spread), el("td", {}, value), more && el("td", {}, asked && asked.button)), asked && asked.box];
  }).flat()));
}

function evidence(title, list, head) {
  if (!list || !list.length) return null;
  return part(title, el("table", { class: "table" },
    el("thead", {}, el("tr", {}, head.map((h) => el("th", {}, h)))),
    el("tbody", {}, list.map(([text, effect, q, documents]) => el("tr", {}, el("td", {}, chip(text)),
      el("td", {}, figure(effect)), el("td", {}, figure(q, 2)), documents === undefined ? null : el("td", {}, String(documents)))))));
}

function plainTable(columns, rows) {
  const written = (value) => (typeof value === "number" || value === null ? figure(value) : visible(String(value)));
  return el("table", { class: "table" }, el("thead", {}, el("tr", {}, columns.map((c) => el("th", { scope: "col" }, c)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((value) => el("td", { class: typeof value === "number" && "number" }, written(value)))))));
}
