// Notes on units and sets of units, kept in a file of the atlas; pictures to keep.

const kept = { notes: {}, sets: {} };
const posting = (body) => ({ method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

async function startNotes() {
  unitTools.push(noteOf);
  if (data.live.model && !data.live.missing) unitTools.push((row) => el("button", { type: "button", class: "tool", onclick: (event) => {
    intoBasket(address(row));
    event.target.textContent = "in the basket";
  } }, "touch"));
  byId("list").querySelector(".controls").append(setForm());
  byId("scale").after(el("p", { class: "say" }, el("a", { href: "#", download: "units.png", onclick: (event) => { event.currentTarget.href = byId("unit-map").toDataURL(); } }, "keep this picture")));
  try {
    Object.assign(kept, await asked("api/notes"));
  } catch (error) {
    byId("set-say").textContent = error.message;
  }
  drawSets();
  if (!byId("unit").open) return;
  byId("unit").querySelector(".tools").remove(); // it was opened before its note was known
  openUnit(unitMap.chosen);
}

// A unit may be called what every object has.
const noteAt = (unit) => (Object.hasOwn(kept.notes, unit) ? kept.notes[unit] : "");

function noteOf(row) {
  const unit = address(row), say = el("small", { role: "status" });
  const save = async (event) => {
    try {
      Object.assign(kept, await asked("api/note", posting({ unit, text: event.target.value, was: noteAt(unit) })));
      say.textContent = "kept in notes.json";
    } catch (error) {
      say.textContent = error.message;
      Object.assign(kept, await asked("api/notes").catch(() => ({}))); // somebody else may have written one
    }
  };
  const text = el("textarea", { rows: 1, maxlength: 10000, "aria-label": `Note on ${unit}`, placeholder: "a note", onchange: save });
  text.value = noteAt(unit);
  return el("div", { class: "note" }, text, say);
}

// As a filter reads it.
const asValue = (name) => (name.includes('"') ? JSON.stringify(name) : name);

function setForm() {
  const name = el("input", { id: "set-name", autocomplete: "off", maxlength: 100, "aria-label": "Name of a set", placeholder: "name of a set" });
  const keepSet = async (event) => {
    event.preventDefault();
    try {
      Object.assign(kept, await asked("api/set", posting({ name: name.value, where: byId("where").value })));
      byId("set-say").textContent = `kept: filter by set = ${asValue(name.value.trim())}`;
      drawSets();
    } catch (error) {
      byId("set-say").textContent = error.message;
    }
  };
  return el("form", { id: "sets", onsubmit: keepSet }, name, el("button", {}, "keep these"),
    el("select", { id: "set", "aria-label": "Show a set", onchange: (event) => { byId("where").value = event.target.value && `set = ${asValue(event.target.value)}`; byId("where").dispatchEvent(new Event("input")); } }),
    el("small", { id: "set-say", role: "status" }));
}

function drawSets() {
  const names = Object.keys(kept.sets);
  byId("set").hidden = !names.length;
  if (data.live.model && !data.live.missing) listSets();
  byId("set").replaceChildren(el("option", { value: "" }, "a set …"), ...names.map((name) => el("option", { value: name }, `${name} (${kept.sets[name].toLocaleString("en")})`)));
}
