// Colours: one ramp from paper to deep violet; two where values have a sign.

const SEQUENTIAL = {
  light: ["#f6f3ee", "#ddd3e8", "#b5a1d2", "#8467b3", "#563a8b", "#2b1856"],
  dark: ["#1d1a24", "#352a52", "#57427f", "#8468b8", "#b69be4", "#f0e6ff"],
};
const DIVERGING = {
  light: ["#0b5d57", "#4f9c94", "#b7d6d1", "#f6f3ee", "#cdbfe0", "#8467b3", "#3b2370"],
  dark: ["#7ee0d4", "#3d9a90", "#21504c", "#1d1a24", "#40305f", "#8468b8", "#dccbff"],
};

const theme = () => document.documentElement.dataset.theme;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const parsed = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

function ramp(stops) {
  const colours = stops.map(parsed);
  return (t) => {
    const x = Math.min(1, Math.max(0, t)) * (colours.length - 1);
    const i = Math.min(colours.length - 2, Math.floor(x));
    return colours[i].map((c, k) => Math.round(c + (colours[i + 1][k] - c) * (x - i)));
  };
}
