// The explorer: what is looked at stands in the address, and nowhere else.

const HELD = 4000; // characters that the address holds of one thing, and twice as many of a question

async function asked(address, options = {}) {
  return (await answered(address, options)).json();
}

async function answered(address, options) {
  if (address.length > 2 * HELD) throw new Error(`That is too long to ask: ${address.length.toLocaleString("en")} characters, at most ${(2 * HELD).toLocaleString("en")}.`);
  // An atlas that was made again since has other rows: the server tells by the stamp.
  const headers = { ...options.headers, "x-nissl-atlas": data.live.stamp };
  const answer = await fetch(address, { ...options, headers }).catch((error) => { throw error.name === "AbortError" ? error : new Error("The explorer has stopped: start it again with nissl view."); });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || `The explorer answered ${answer.status}.`);
}

// Hand on each line of JSON as it is answered; an error is the last.
async function eachLine(address, options, each) {
  const read = (await answered(address, options)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await read.read(); !part.done; part = await read.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines.map((text) => JSON.parse(text))) {
      if (line.error) throw new Error(line.error);
      await each(line);
    }
  }
}

// The parts of the view that are not at their first value.
const view = new URLSearchParams(location.search);

function keep(name, value, first = "") {
  if (String(value) === String(first) || String(value).length > HELD) view.delete(name);
  else view.set(name, value);
  const query = view.toString();
  history.replaceState(history.state, "", `${location.pathname}${query ? `?${query}` : ""}${location.hash}`);
}

function takeView() {
  for (const id of ["statistic", "order"]) {
    const select = byId(id), first = select.value, wanted = view.get(id);
    if (wanted !== null && [...select.options].some((o) => o.value === wanted)) select.value = wanted;
    select.addEventListener("change", () => keep(id, select.value, first));
  }
  zoomTo(...(view.get("zoom") || "1,0,0").split(",").map(Number));
  zoom.moved = () => keep("zoom", [zoom.k, zoom.x, zoom.y].map((v) => Number(v.toPrecision(4))).join(","), "1,0,0");
  if (data.kinds.some((k) => k.name === view.get("kind"))) list.kind = view.get("kind");
  for (const id of ["kinds-legend", "tabs"]) byId(id).addEventListener("click", () => keep("kind", list.kind || ""));
  drawAll();
  fillTabs();
}
