// What Python left in the page, decoded: one array a statistic, one entry a unit.

const data = JSON.parse(document.getElementById("data").textContent);
const units = { n: data.n };

function bytes(base64) {
  const text = atob(base64);
  const out = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) out[i] = text.charCodeAt(i);
  return out;
}

// The upper three bytes of a float32, rounded: four figures and the whole range.
function floats(base64) {
  const raw = bytes(base64);
  const whole = new Uint32Array(raw.length / 3);
  for (let i = 0; i < whole.length; i++) whole[i] = (raw[3 * i] << 8) | (raw[3 * i + 1] << 16) | (raw[3 * i + 2] << 24);
  return new Float32Array(whole.buffer);
}

units.site = new Uint16Array(bytes(data.columns.site).buffer);
units.index = new Uint32Array(bytes(data.columns.index).buffer);
units.kind = bytes(data.columns.kind);
for (const name of ["token", "bigram", "language"])
  units[name] = data.columns[name] ? new Uint16Array(bytes(data.columns[name]).buffer) : null;
for (const statistic of data.statistics) statistic.values = floats(statistic.data);
const statisticOf = Object.fromEntries(data.statistics.map((s) => [s.name, s]));
for (const category of data.categories) category.codes = new Uint16Array(bytes(category.data).buffer);
const categoryOf = Object.fromEntries(data.categories.map((c) => [`prefers ${c.name}`, c]));
const cardOf = new Map(data.cards.map((card) => [card.row, card]));

// Units of one site lie together; a group is a site, in the order in which sites appear.
const groups = data.sites.map((site) => ({ ...site, rows: [] }));
for (let row = 0; row < units.n; row++) groups[units.site[row]].rows.push(row);

function address(row) {
  return data.addresses ? data.addresses[row] : `${data.sites[units.site[row]].name}[${units.index[row]}]`;
}

function rowOf(text) {
  if (data.addresses) return data.addresses.indexOf(text);
  const found = /^(.*)\[(\d+)\]$/.exec(text);
  if (!found) return -1;
  const group = groups.find((g) => g.name === found[1]);
  const row = group && group.rows.find((r) => units.index[r] === Number(found[2]));
  return row === undefined ? -1 : row;
}

const byId = (id) => document.getElementById(id);
