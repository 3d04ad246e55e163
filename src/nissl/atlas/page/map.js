// The map: every unit in one picture, coloured by a statistic or by its kind.

const unitMap = { plan: null, statistic: null, category: null, chosen: 0 };

function drawMap() {
  const canvas = byId("unit-map");
  const statistic = statisticOf[byId("statistic").value], category = categoryOf[byId("statistic").value];
  const width = Math.max(60, canvas.parentElement.clientWidth - 2 * parseFloat(getComputedStyle(canvas.parentElement).paddingLeft));
  const plan = byId("order").value === "space" ? spacePlan(width) : tilePlan(width, statistic, category);
  const size = { width: Math.floor(width), height: Math.ceil(plan.height), ratio: Math.max(1, Math.round(window.devicePixelRatio || 1)) };
  canvas.width = size.width * size.ratio;
  canvas.height = size.height * size.ratio;
  canvas.style.width = `${size.width}px`;
  canvas.style.height = `${size.height}px`;
  const colour = filtered(statistic ? colourOf(statistic) : category ? (row) => categoryColour(category.codes[row]) : kindColours());
  Object.assign(unitMap, { plan, statistic, category, size, colour });
  zoom.most = plan.closest;
  byId("zoom-site").parentElement.hidden = !plan.boxOf || groups.length < 2;
  zoomTo(zoom.k, zoom.x, zoom.y);
  canvas.setAttribute("aria-label", `${plural(units.n, "unit")} in ${plural(groups.length, "site")}, coloured by ` +
    `${(statistic || category || { label: "kind" }).label}. Arrow keys move, Enter opens, plus and minus zoom, 0 shows all.`);
  drawScale(statistic);
  cancelAnimationFrame(zoom.frame);
  paintMap();
}

// What is seen of the map, without laying it out again.
function paintMap() {
  const pen = byId("unit-map").getContext("2d");
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, pen.canvas.width, pen.canvas.height);
  unitMap.plan.paint(pen, unitMap.size.ratio, unitMap.colour, seen());
}

function drawScale(statistic) {
  const box = byId("scale");
  box.replaceChildren();
  if (unitMap.category) return drawCategories(box, unitMap.category);
  if (!statistic) {
    for (const kind of data.kinds.filter((k) => k.count))
      box.append(el("span", {}, el("i", { style: `background:${kindColour(kind.name)}` }), kind.name));
    byId("map-say").textContent = `${unitMap.plan.says} Point at one to read it, click to open it.`;
    return;
  }
  const { from, to, median, log, reversed } = span(statistic);
  const zeros = log && !reversed && statistic.values.some((x) => x <= 0);
  const colour = ramp((statistic.scale === "diverging" ? DIVERGING : SEQUENTIAL)[theme()]);
  const stops = Array.from({ length: 13 }, (_, i) => `rgb(${colour(statistic.scale === "diverging" ? place(statistic, from + (i / 12) * (to - from)) : i / 12).join(" ")})`);
  if (zeros) box.append(el("span", {}, el("i", { style: `background:${zeroColour()}` }), "zero"));
  box.append(el("span", {}, shown(statistic, reversed ? to : from)),
    el("span", { class: "ramp", style: `background:linear-gradient(90deg,${stops.join(",")})` }),
    el("span", {}, shown(statistic, reversed ? from : to)),
    el("span", {}, `median ${shown(statistic, median)}${log ? "; logarithmic" : ""}${units.n > 2000 ? "; outermost hundredths clipped" : ""}`));
  byId("map-say").textContent = `${unitMap.plan.says} Colour: ${statistic.meaning}.`;
}

// The categories that most units prefer; those that none prefers are left out.
function drawCategories(box, category) {
  const MOST = 24;
  const many = [0, ...category.levels].map(() => 0);
  for (const code of category.codes) many[code]++;
  const codes = many.map((n, code) => code).filter((code) => many[code]).sort((a, b) => !a - !b || many[b] - many[a]);
  const said = (code) => `${code ? category.levels[code - 1] : "none"} ${many[code].toLocaleString("en")}`;
  box.append(...codes.slice(0, MOST).map((code) => el("span", {}, el("i", { style: `background:rgb(${categoryColour(code).join(" ")})` }), said(code))));
  if (codes.length > MOST) box.append(el("span", {}, `and ${codes.length - MOST} more`));
  byId("map-say").textContent = `${unitMap.plan.says} Colour: the ${category.label.replace("preferred ", "")} at which a unit is highest, where it is tuned to it (q at most 0.05).`;
}

function tipFor(row) {
  const lines = [el("b", {}, address(row)), el("span", {}, data.kinds[units.kind[row]].name)];
  if (units.token && units.token[row]) lines.push(` · ${visible(data.strings[units.token[row]]).trim() || "␣"}`);
  for (const category of data.categories) if (category.codes[row]) lines.push(` · ${category.levels[category.codes[row] - 1]}`);
  const statistic = unitMap.statistic || statisticOf.density;
  if (statistic) lines.push(el("br"), `${statistic.label} ${shown(statistic, statistic.values[row])}`);
  return lines;
}

function showTip(row, x, y) {
  placeTip(row < 0 ? null : tipFor(row), x, y);
}

function placeTip(lines, x, y) {
  const tip = byId("tip");
  tip.hidden = !lines;
  if (!lines) return;
  tip.replaceChildren(...lines);
  const box = tip.getBoundingClientRect();
  tip.style.left = `${Math.min(x + 14, innerWidth - box.width - 8)}px`;
  tip.style.top = `${y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18}px`;
}

function listenToMap() {
  const canvas = byId("unit-map");
  const under = (event) => {
    const { k, left, top } = seen();
    return unitMap.plan.under(event.offsetX / k + left, event.offsetY / k + top, k);
  };
  canvas.addEventListener("pointermove", (event) => showTip(event.buttons ? -1 : under(event), event.clientX, event.clientY));
  canvas.addEventListener("pointerleave", () => showTip(-1));
  canvas.addEventListener("click", (event) => !(zoom.k > 1 && zoom.dragged >= 5) && under(event) >= 0 && openUnit(under(event)));
  canvas.addEventListener("blur", () => showTip(-1));
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -unitMap.plan.step, ArrowDown: unitMap.plan.step }[event.key];
    if (event.key === "Enter") openUnit(unitMap.chosen);
    if (step === undefined) return;
    event.preventDefault();
    unitMap.chosen = Math.min(units.n - 1, Math.max(0, unitMap.chosen + step));
    const [x, y] = inSight(unitMap.chosen), box = canvas.getBoundingClientRect();
    showTip(unitMap.chosen, box.left + x, box.top + y);
  });
}
