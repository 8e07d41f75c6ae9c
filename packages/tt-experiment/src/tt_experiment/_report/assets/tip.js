// The crosshair of a chart, and a tip with the recorded values nearest to it.

const MOST_NAMED = 12;

class Tip {
  constructor(chart) {
    Object.assign(this, { chart, place: null, height: null });
    this.box = make("div", { class: "tip", hidden: true });
    this.said = make("p", { class: "sr-only", "aria-live": "polite" });
    chart.live.append(this.box, this.said);
  }

  refresh() {
    this.show(this.place, this.height);
  }

  // Show what is near a place on the axis; null hides it. `height` is where the mouse is.
  show(place, height = null) {
    const { chart } = this;
    Object.assign(this, { place, height });
    const found = place === null ? null : this.found(place);
    this.box.hidden = !found;
    chart.over.replaceChildren();
    all(".near", chart.svg).forEach((line) => line.classList.remove("near"));
    if (!found) return;
    const at = chart.x(found.place);
    chart.over.append(draw("line", { class: "cross", x1: at, x2: at, y1: ROOM.top - 8, y2: HEIGHT - ROOM.bottom }));
    for (const { curve, place: own, value } of found.rows) {
      if (chart.drawable(value)) chart.over.append(draw("circle", { class: `dot s${curve.colour}`, cx: chart.x(own), cy: chart.y(value), r: 4 }));
    }
    if (found.near) all("[data-key]", chart.svg).forEach((line) => line.classList.toggle("near", line.dataset.key === found.near.curve.key));
    this.write(found, at);
  }

  // The record nearest to a place, and what each curve has nearest to that.
  found(place) {
    const { chart } = this;
    const at = (curve, where) => {
      const places = chart.places(curve);
      const i = nearest(places, where);
      return { curve, i, place: places[i], value: curve.value[i] };
    };
    const inView = (row) => row.place >= chart.x.low && row.place <= chart.x.high;
    const first = chart.shown.map((curve) => at(curve, place)).filter(inView);
    if (!first.length) return null;
    const away = (row) => Math.abs(row.place - place);
    const snap = first.reduce((best, row) => (away(row) < away(best) ? row : best)).place;
    const rows = chart.shown.map((curve) => at(curve, snap)).filter(inView);
    const apart = (row) => (chart.drawable(row.value) ? Math.abs(chart.y(row.value) - this.height) : Infinity);
    const close = this.height === null ? rows : [...rows].sort((a, b) => apart(a) - apart(b));
    const named = rows.length > MOST_NAMED ? close.slice(0, MOST_NAMED) : rows;
    return { place: snap, rows: named, more: rows.length - named.length, near: rows.length > 4 && this.height !== null ? close[0] : null };
  }

  write({ rows, place, more, near }, at) {
    const { chart, box } = this;
    const table = make("table", {}, make("tbody", {}, ...rows.map((row) => this.row(row, place, row === near))));
    box.replaceChildren(make("b", {}, this.where(rows[0], place)), table);
    if (more) box.append(make("span", { class: "dim" }, `nearest ${rows.length} of ${rows.length + more}`));
    const left = at > chart.width / 2 ? at - box.offsetWidth - 14 : at + 14;
    box.style.left = `${Math.max(0, left)}px`;
    box.style.top = `${ROOM.top}px`;
  }

  where({ curve, i }, place) {
    const axis = this.chart.view.axis;
    const { epoch, step } = this.chart.data.axes[curve.axis];
    if (axis === "step") return `step ${place}${epoch ? ` \u00b7 ${short(epoch[i])} epochs` : ""}`;
    return `${AXES[axis].text(place)}${axis === "epoch" ? " epochs" : ""} \u00b7 step ${step[i]}`;
  }

  row({ curve, i, place, value }, snap, near) {
    const { chart } = this;
    const name = make("td", {}, make("span", { class: `key s${curve.colour}` }), curve.name);
    const row = make("tr", { class: near ? "near" : null }, name, make("td", { class: "n" }, ...exact(value)));
    const beside = (text) => row.append(make("td", { class: "dim" }, text));
    if (isNumber(curve.low?.[i])) beside(`${short(curve.low[i])} to ${short(curve.high[i])}`);
    if (chart.smoothed.has(curve)) beside(`smooth ${short(chart.smoothed.get(curve)[i])}`);
    if (place !== snap) beside(`at ${AXES[chart.view.axis].text(place)}`);
    return row;
  }

  speak() {
    const rows = all("tr", this.box).map((row) => [...row.cells].map((cell) => cell.textContent).join(" "));
    this.said.textContent = this.box.hidden ? "" : [this.box.querySelector("b").textContent, ...rows].join("; ");
  }
}

// A number whose first digits stand out and whose others are there.
function exact(value) {
  const text = String(value);
  const [, head, rest] = /^(-?\d*\.?0*\d{0,5})(\d*)$/.exec(text) ?? ["", text, ""];
  return rest.length > 2 ? [head, make("span", { class: "rest" }, rest)] : [text];
}
