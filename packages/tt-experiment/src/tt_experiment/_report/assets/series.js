// Points of curves: smoothing, and what is where.

// Numbers that are none are in the data as texts: "nan", "inf", "-inf".
function isNumber(value) {
  return typeof value === "number";
}

// Exponential moving average without the pull of its start; gaps stay gaps. `pace` is how many
// points the densest curve of a chart has per unit of its axis: `weight` is for one of its steps.
function smoothed(places, values, weight, pace) {
  let [sum, share, last] = [0, 0, null];
  return values.map((value, i) => {
    if (!isNumber(value)) return value;
    const steps = last === null ? 1 : (places[i] - last) * pace;
    const kept = weight ** (steps > 0 ? steps : 1);
    sum = kept * sum + (1 - kept) * value;
    share = kept * share + (1 - kept);
    last = places[i];
    return sum / share;
  });
}

// Index of the place nearest to a position, in ascending places.
function nearest(places, position) {
  let [low, high] = [0, places.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle] < position) low = middle + 1;
    else high = middle;
  }
  return low > 0 && position - places[low - 1] <= places[low] - position ? low - 1 : low;
}

function linePath(x, y, places, values, log) {
  let [path, pen] = ["", "M"];
  for (let i = 0; i < values.length; i++) {
    if (!isNumber(values[i]) || (log && values[i] <= 0)) {
      pen = "M";
      continue;
    }
    path += `${pen}${x(places[i]).toFixed(1)} ${y(values[i]).toFixed(1)}`;
    pen = "L";
  }
  return path;
}

// Points with a gap on both sides would draw nothing: they become dots.
function lonely(values) {
  return values.flatMap((value, i) => (isNumber(value) && !isNumber(values[i - 1]) && !isNumber(values[i + 1]) ? [i] : []));
}

function bandPath(x, y, places, { low, high }, log) {
  const fine = [...places.keys()].filter((i) => isNumber(low[i]) && isNumber(high[i]) && (!log || low[i] > 0));
  if (fine.length < 2) return "";
  const upper = fine.map((i) => `${x(places[i]).toFixed(1)} ${y(high[i]).toFixed(1)}`);
  const lower = fine.reverse().map((i) => `${x(places[i]).toFixed(1)} ${y(low[i]).toFixed(1)}`);
  return `M${[...upper, ...lower].join("L")}Z`;
}
