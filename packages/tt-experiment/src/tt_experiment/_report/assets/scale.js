// Scales, ticks, and numbers as people read them.

function scale(low, high, start, end, log = false) {
  const bend = log ? Math.log10 : (value) => value;
  const unbend = log ? (value) => 10 ** value : (value) => value;
  const [a, b] = [bend(low), bend(high)];
  const place = (value) => start + ((bend(value) - a) / (b - a)) * (end - start);
  place.back = (pixel) => unbend(a + ((pixel - start) / (end - start)) * (b - a));
  place.low = low;
  place.high = high;
  return place;
}

// Bounds with some room, never equal.
function bounds(values, log, room) {
  const shown = values.filter((value) => Number.isFinite(value) && (!log || value > 0));
  if (!shown.length) return [log ? 0.1 : 0, 1];
  let [low, high] = [Infinity, -Infinity];
  for (const value of shown) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (log) {
    const factor = high / low > 1 + 1e-9 ? (high / low) ** room : 1.5;
    return [low / factor, high * factor];
  }
  if (high - low <= 1e-12 * Math.max(Math.abs(low), Math.abs(high))) {
    const around = Math.abs(high) * 0.1 || 1;
    return room ? [low - around, high + around] : [low - 0.5, high + 0.5];
  }
  return [low - (high - low) * room, high + (high - low) * room];
}

function ticks(low, high, count) {
  const rough = (high - low) / count;
  if (!(rough > 1e-300 && rough < 1e300)) return [low, high];
  const power = 10 ** Math.floor(Math.log10(rough));
  return multiples(low, high, power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999));
}

function multiples(low, high, step) {
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i <= Math.floor(high / step + 1e-9); i++) found.push(i * step);
  return found;
}

function logTicks(low, high, count) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const every = Math.max(1, Math.ceil((last - first) / count));
  const factors = last - first <= 2 ? [1, 2, 5] : [1];
  const found = [];
  for (let power = first; power <= last; power += every) {
    for (const factor of factors) found.push(factor * 10 ** power);
  }
  const shown = found.filter((value) => value >= low * 0.999 && value <= high * 1.001);
  return shown.length > 1 ? shown : ticks(low, high, count).filter((value) => value > 0);
}

const DAY = 86400;
const UNITS = [[DAY, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function timeTicks(low, high, count) {
  const rough = (high - low) / count;
  if (rough < 1) return ticks(low, high, count);
  if (rough > DAY) return ticks(low / DAY, high / DAY, count).map((days) => days * DAY);
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, DAY];
  return multiples(low, high, steps.find((step) => step >= rough));
}

// Five digits that matter, no trailing zeros.
function short(value) {
  if (!Number.isFinite(value) || (Number.isInteger(value) && Math.abs(value) < 1e7)) return String(value);
  const rounded = Number(value.toPrecision(5));
  return Math.abs(rounded) < 1e-4 ? rounded.toExponential() : String(rounded);
}

function time(seconds) {
  const [size, unit] = UNITS.find(([size]) => Math.abs(seconds) >= size) ?? UNITS.at(-1);
  return `${Number((seconds / size).toPrecision(3))} ${unit}`;
}

const AXES = {
  step: { label: "step", ticks: (low, high, count) => ticks(low, high, count).filter(Number.isInteger), text: short },
  epoch: { label: "epochs done", ticks, text: short },
  time: { label: "time since the start", ticks: timeTicks, text: time },
};
