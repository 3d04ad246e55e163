// Tables: figures with their names, and evidence with effect and q.

function figures(rows) {
  return el("table", { class: "pairs" }, el("tbody", {}, rows.map(([label, value, meaning]) => el("tr", { title: meaning }, el("th", {}, label), el("td", {}, value)))));
}

function evidence(title, list, head) {
  if (!list || !list.length) return null;
  return el("div", {}, el("h3", {}, title), el("table", { class: "table" },
    el("thead", {}, el("tr", {}, head.map((h) => el("th", {}, h)))),
    el("tbody", {}, list.map(([text, effect, q, documents]) => el("tr", {}, el("td", {}, chip(text)),
      el("td", {}, figure(effect)), el("td", {}, figure(q, 2)), documents === undefined ? null : el("td", {}, String(documents)))))));
}
