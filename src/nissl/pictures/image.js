// Images { s: number, v: activity, l: label, at, box }, each with the cell of the unit's map where it is at its peak.
// `source` gives the address of the image of a number; without it they are named.
function images(list, { source = null, tiny = false } = {}) {
  const named = (c) => `image ${c.s.toLocaleString("en")}`;
  const picture = (c) => el("span", { class: "picture", title: `${named(c)}${c.at.length ? `, row ${c.at[0]}, column ${c.at[1]} of the map` : ""}` },
    el("img", { src: source(c.s), alt: `${named(c)}${c.l ? `: ${c.l}` : ""}`, loading: "lazy", onerror: (event) => event.target.replaceWith(named(c)) }),
    c.box && el("i", { style: ["left", "top", "width", "height"].map((side, k) => `${side}:${100 * c.box[k]}%`).join(";") }));
  return el("ul", { class: `pictures${tiny ? " tiny" : ""}` }, list.map((c) => el("li", {}, source ? picture(c) : named(c),
    c.l ? el("small", { title: c.l }, c.l) : null, el("span", { class: "v" }, figure(c.v)))));
}
