// A closer look at the map: how much larger than the whole, and where, as shares of its width and height.

const zoom = { k: 1, x: 0, y: 0, most: 16, moved: () => {}, frame: 0 };
const ZOOM_STEP = 1.5;

// The part that is seen, in pixels of the whole.
function seen() {
  const { width, height } = unitMap.size;
  return { k: zoom.k, left: zoom.x * width, top: zoom.y * height };
}

function zoomTo(k, x, y) {
  zoom.k = Math.min(zoom.most, Math.max(1, Number.isFinite(k) ? k : 1));
  [zoom.x, zoom.y] = [x, y].map((at) => Math.min(1 - 1 / zoom.k, Math.max(0, Number.isFinite(at) ? at : 0)));
  byId("unit-map").classList.toggle("closer", zoom.k > 1);
  byId("zoom-out").disabled = byId("zoom-all").disabled = zoom.k === 1;
  byId("zoom-in").disabled = zoom.k === zoom.most;
  if (zoom.k === 1) byId("zoom-site").value = "";
  showTip(-1);
  zoom.moved();
  cancelAnimationFrame(zoom.frame);
  zoom.frame = requestAnimationFrame(paintMap);
}

// Larger by a factor, around a point of the canvas that stays where it is.
function zoomBy(factor, px = unitMap.size.width / 2, py = unitMap.size.height / 2) {
  const k = Math.min(zoom.most, Math.max(1, zoom.k * factor));
  const still = (at, p, whole) => at + p / (whole * zoom.k) - p / (whole * k);
  zoomTo(k, still(zoom.x, px, unitMap.size.width), still(zoom.y, py, unitMap.size.height));
}

// A part as large as it fits; where that is hardly larger, its beginning as wide or as high as the map.
function zoomInto([left, top, wide, tall]) {
  const { width, height } = unitMap.size, ratios = [width / wide, height / tall];
  const fits = Math.min(...ratios) > 1.2, k = Math.min(zoom.most, fits ? Math.min(...ratios) : Math.max(...ratios));
  zoomTo(k, fits ? (left + wide / 2) / width - 0.5 / k : left / width, fits ? (top + tall / 2) / height - 0.5 / k : top / height);
}

// Where a unit is on the canvas; what lies outside is brought into sight.
function inSight(row) {
  const { width, height } = unitMap.size, [x, y] = unitMap.plan.placeOf(row);
  const inside = (at, p, whole) => (p / whole >= at && p / whole < at + 0.97 / zoom.k ? at : p / whole - 0.5 / zoom.k);
  if (zoom.k > 1) zoomTo(zoom.k, inside(zoom.x, x, width), inside(zoom.y, y, height));
  const { k, left, top } = seen();
  return [(x - left) * k, (y - top) * k];
}

function listenToZoom() {
  const canvas = byId("unit-map"), held = new Map();
  let apart = 0;
  canvas.addEventListener("wheel", (event) => {
    // A wheel that passes by scrolls the page; it zooms where the map was chosen, or is seen closer already.
    const meant = event.ctrlKey || event.metaKey || zoom.k > 1 || document.activeElement === canvas;
    if (!meant || (zoom.k === 1 && event.deltaY > 0)) return;
    event.preventDefault();
    zoomBy(Math.exp(-Math.max(-60, Math.min(60, event.deltaY)) * (event.ctrlKey ? 0.01 : 0.004)), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    held.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (held.size === 1) zoom.dragged = 0;
    apart = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    held.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (held.size === 2) {
      const [a, b] = held.values(), now = Math.hypot(a[0] - b[0], a[1] - b[1]);
      if (apart) zoomBy(now / apart, (a[0] + b[0]) / 2, (a[1] + b[1]) / 2);
      apart = now;
      zoom.dragged = 9;
      return;
    }
    const [dx, dy] = [event.offsetX - before[0], event.offsetY - before[1]];
    zoom.dragged += Math.abs(dx) + Math.abs(dy);
    if (zoom.k === 1 || zoom.dragged < 5) return;
    if (!canvas.hasPointerCapture(event.pointerId)) canvas.setPointerCapture(event.pointerId);
    zoomTo(zoom.k, zoom.x - dx / (unitMap.size.width * zoom.k), zoom.y - dy / (unitMap.size.height * zoom.k));
  });
  for (const name of ["pointerup", "pointercancel", "pointerleave"]) canvas.addEventListener(name, (event) => { held.delete(event.pointerId); apart = 0; });
  canvas.addEventListener("keydown", (event) => {
    const key = { "+": ZOOM_STEP, "=": ZOOM_STEP, "-": 1 / ZOOM_STEP }[event.key];
    if (event.ctrlKey || event.metaKey || (!key && event.key !== "0")) return;
    event.preventDefault();
    if (!key) return zoomTo(1, 0, 0);
    const [x, y] = inSight(unitMap.chosen);
    zoomBy(key, x, y);
  });
  byId("zoom-in").addEventListener("click", () => zoomBy(ZOOM_STEP));
  byId("zoom-out").addEventListener("click", () => zoomBy(1 / ZOOM_STEP));
  byId("zoom-all").addEventListener("click", () => { zoomTo(1, 0, 0); byId("unit-map").focus(); });
  const site = byId("zoom-site");
  site.append(el("option", { value: "" }, "all"), ...groups.map((group, g) => el("option", { value: g }, group.long)));
  site.addEventListener("change", () => (site.value === "" ? zoomTo(1, 0, 0) : zoomInto(unitMap.plan.boxOf(Number(site.value)))));
}
