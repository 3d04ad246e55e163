// Where a unit stands among the others: how many of its site and of all lie below it.

const BINS = 24, SINGLE = 60; // of a small distribution; units that are drawn one by one

// The share of units below, those that are equal counted half; units without a value are left out.
function shareBelow(statistic, x, rows) {
  let n = 0, below = 0;
  for (let i = 0; i < rows.length; i++) {
    const v = statistic.values[rows[i]];
    if (Number.isNaN(v)) continue;
    n++;
    below += v < x ? 1 : v === x ? 0.5 : 0;
  }
  return n ? below / n : NaN;
}

const everyRow = Uint32Array.from({ length: units.n }, (_, row) => row);

function ranked(statistic, row) {
  const x = statistic.values[row], own = groups[units.site[row]];
  const all = shareBelow(statistic, x, everyRow), site = groups.length > 1 ? ` and ${percent(shareBelow(statistic, x, own.rows))} of ${own.long}` : "";
  return `Above ${percent(all)} of all units${site}.`;
}

function placeAmong(statistic, row) {
  const place = (r) => Math.min(1, Math.max(0, along(statistic, statistic.values[r]) || 0));
  const finite = (r) => Number.isFinite(statistic.values[r]);
  if (!statistic.spread) {
    const kept = everyRow.filter(finite);
    if (kept.length <= SINGLE) statistic.spread = { ticks: Array.from(kept, place) };
    else {
      const bins = new Array(BINS).fill(0);
      for (const r of kept) bins[Math.min(BINS - 1, Math.floor(place(r) * BINS))]++;
      statistic.spread = { bins };
    }
  }
  return { ...statistic.spread, at: place(row), says: `${statistic.label}: ${ranked(statistic, row)}` };
}
