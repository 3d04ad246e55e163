// What only the explorer can tell of a unit: circuits that have it, and directions of a dictionary near its own.

const unitLink = (unit) => (rowOf(unit) >= 0 ? el("button", { class: "link", type: "button", onclick: () => openUnit(rowOf(unit)) }, unit) : unit);
const SINGLE_NODE = "The effect is that of the whole node on the circuit's own prompts, by the method that found it; it was not tested for one unit. The circuit is tested beside random ones under Trace.";

function inCircuits(row) {
  const box = el("div", { id: "unit-circuits" });
  asked(`api/unit/${row}/circuits`).then(({ circuits }) => {
    const open = (name) => el("button", { class: "link", type: "button", onclick: () => { byId("unit").close(); openCircuit({ circuit: name }); byId("trace").scrollIntoView(); } }, name);
    const lines = circuits.map(({ circuit, node, effect, rank, n, wrong }) => el("tr", {}, el("td", {}, open(circuit)),
      wrong ? el("td", { colspan: 3 }, wrong) : [node === address(row) ? "itself" : node, figure(effect), `${rank} of ${n}`].map((said) => el("td", {}, said))));
    const made = lines.length ? part({ text: "Its part in circuits", words: SINGLE_NODE }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, ["circuit", "as", "effect", "rank"].map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, lines))) : "";
    box.replaceChildren(made);
  }, (error) => box.replaceChildren(el("p", { class: "none" }, error.message)));
  return box;
}

function nearDirections(row) {
  if (!data.live.model || data.live.missing) return null;
  const found = el("div", { role: "status" });
  const ask = async () => {
    found.replaceChildren(waitingFor("Comparing directions"));
    try {
      found.replaceChildren(...directionsTold(await asked("api/directions", posting({ unit: address(row) }))));
      reading.loaded = true;
    } catch (error) {
      found.replaceChildren(error.message);
    }
  };
  return part("Its directions in a dictionary", el("button", { type: "button", class: "tool", onclick: ask }, "find the nearest"), found);
}

function directionsTold({ of, n, d, nearest, null: chance, p, why }) {
  if (why) return [why];
  const words = `Cosines of what it writes with the output weights of ${n.toLocaleString("en")} ${of}, each of ${d.toLocaleString("en")} numbers. ` +
    `Random directions among as many: the largest is ${figure(chance[0])} on average, in 19 of 20 at most ${figure(chance[1])}; as far as the first came a share of ${figure(p, 2)} (p, of 200 draws). ` +
    "Directions that were learned lie closer together than random ones, so that the null is a lenient one.";
  return [part({ text: `The ${of} nearest to what it writes`, words }, figures(nearest.map(({ unit, cosine }) => [unitLink(unit), figure(cosine)])),
    el("p", { class: "against" }, `Among as many random directions the largest is ${figure(chance[0])}, in 19 of 20 at most ${figure(chance[1])}.`))];
}

function startParts() {
  unitParts.push(inCircuits, nearDirections);
}
