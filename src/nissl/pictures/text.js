// Where a unit is highest: images, texts, or moments of a recording. A text is { t: tokens, a: activity in
// 127ths of the strongest, at: the place, v: activity there, d: document, p: position }.
function places(list, { aligned = false, ...pictures } = {}) {
  if (list.length && list[0].s !== undefined) return images(list, pictures);
  return el("ul", { class: "contexts" }, list.map((c) => el("li", {}, el("span", { class: "v" }, figure(c.v)),
    c.t ? passage(c, aligned) : el("p", { class: "trace" }, el("span", {}, c.l || `sample ${c.i.toLocaleString("en")}`), c.a ? trace(c) : null))));
}

// The style of a token by its activity, from -1 to 1; what is weak is left unshaded.
function shade(a) {
  return Math.abs(a) < 0.06 ? null :
    `background:color-mix(in srgb, var(${a < 0 ? "--low" : "--accent"}) calc(${Math.abs(a).toFixed(2)} * var(--shade)), transparent)`;
}

// The text around a place, shaded by activity; in a card the places stand below each other.
function passage(c, aligned) {
  const words = c.t.map((token, i) => {
    const a = c.a ? c.a[i] / 127 : i === c.at ? Math.sign(c.v) : 0;
    return el("span", { class: i === c.at ? "peak" : null, style: shade(a) }, visible(token));
  });
  const style = `--edge:var(${c.v < 0 ? "--low" : "--accent"})`, title = `document ${c.d}, position ${c.p}`;
  if (!aligned) return el("p", { style, title }, words);
  return el("p", { class: "aligned", style, title }, el("span", {}, el("span", {}, words.slice(0, c.at))), el("span", {}, words.slice(c.at)));
}
