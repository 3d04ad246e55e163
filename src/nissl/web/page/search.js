// The search at the top, asked of the whole atlas: each suggestion opens a unit, or the list filtered by it.

function startSearch() {
  byId("search").placeholder = `Find: address, ${units.token ? "3/812, token, pair, kind, note, text" : "region, kind, label, note"}`;
  byId("search").setAttribute("aria-label", "Find units");
  Object.assign(searching, { options: suggested, none: "nothing here has that: no address, column of words, note or text" });
}

let typed = 0;

async function suggested(text) {
  const mine = ++typed;
  await new Promise((then) => { setTimeout(then, 120); }); // until the typing rests
  if (mine !== typed) return { options: [] };
  try {
    const found = await asked(`api/search?${new URLSearchParams({ text })}`), rows = new Set(found.map((option) => option.row));
    const strongest = unitOptions(text, 8);
    return { options: [...found.map(suggestion), ...strongest.options.filter((option) => !rows.has(option.row))], count: strongest.count };
  } catch (error) {
    return { options: [], none: error.message };
  }
}

function suggestion({ row, text, says, what, n, where, find, sort }) {
  if (row !== undefined) return { text, says, go: () => openUnit(row) };
  return { text: visible(text) || "␣", says: `${what}: ${plural(n, "unit")}`, go: () => showList({ where, find, sort }) };
}
