// Colours of units: by a statistic, a category or their kind.

const kindColour = (kind) => css(`--k-${kind}`) || css("--accent");

// The span of a statistic, without its outermost hundredths where units are many.
function span(statistic) {
  if (statistic.span) return statistic.span;
  const reversed = statistic.scale === "significance";
  let log = reversed || statistic.scale === "log";
  const values = Float32Array.from(statistic.values.filter((x) => Number.isFinite(x) && (!log || x > 0)));
  values.sort();
  const at = (q) => values[Math.min(values.length - 1, Math.floor(q * values.length))];
  // Among few there are no outliers to leave out, only units.
  const edge = units.n > 2000 ? 0.01 : 0;
  let [low, high] = values.length ? [at(edge), at(1 - edge)] : [0, 1];
  const ends = [low, high];
  // A logarithm is for magnitudes that differ a hundredfold; a lesser span is easier to read without.
  if (log && !reversed && high < 100 * low) log = false;
  if (statistic.scale === "diverging") [low, high] = [-1, 1].map((s) => s * Math.max(Math.abs(low), Math.abs(high)));
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - 1, high + 1];
  // What is signed has zero in the middle of its colours; pictures show as much of them as occurs.
  const [from, to] = statistic.scale === "diverging" && ends[0] < ends[1] ? ends : [low, high];
  statistic.span = { low, high, from, to, median: at(0.5), log, reversed };
  return statistic.span;
}

function place(statistic, x) {
  const { low, high, log, reversed } = span(statistic);
  const t = !log ? (x - low) / (high - low) : x > 0 ? (Math.log(x) - Math.log(low)) / (Math.log(high) - Math.log(low)) : 0;
  return reversed ? 1 - t : t;
}

// Along an axis from the least that occurs to the most.
function along(statistic, x) {
  const { from, to } = span(statistic);
  return statistic.scale === "diverging" ? (x - from) / (to - from) : place(statistic, x);
}

function colourOf(statistic) {
  const colour = ramp((statistic.scale === "diverging" ? DIVERGING : SEQUENTIAL)[theme()]);
  const missing = parsed(theme() === "dark" ? "#2c2833" : "#e9e6e0");
  const { log, reversed } = span(statistic), zero = parsed(zeroColour());
  return (row) => {
    const x = statistic.values[row];
    if (Number.isNaN(x)) return missing;
    // A logarithm has no place for zero, which is not the least of what is shown.
    return log && !reversed && x <= 0 ? zero : colour(place(statistic, x));
  };
}

const zeroColour = () => (theme() === "dark" ? "#274653" : "#bcd3dc");

// Categories have no order: hues a golden angle apart, so that any number of them differ.
function categoryColour(code) {
  if (!code) return parsed(theme() === "dark" ? "#35313d" : "#e2ded7");
  const hue = (20 + 137.5 * (code - 1)) % 360, light = theme() === "dark" ? 0.62 : 0.47, strong = 0.55 * Math.min(light, 1 - light);
  return [0, 8, 4].map((n) => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - strong * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  });
}

function kindColours() {
  const colours = data.kinds.map((k) => parsed(kindColour(k.name)));
  return (row) => colours[units.kind[row]];
}

// Where kinds are chosen in the legend, the others step back.
function filtered(colour) {
  if (list.kind === null) return colour;
  const paper = parsed(css("--paper"));
  const wanted = data.kinds.findIndex((k) => k.name === list.kind);
  return (row) => (units.kind[row] === wanted ? colour(row) : colour(row).map((c, i) => Math.round(0.12 * c + 0.88 * paper[i])));
}
