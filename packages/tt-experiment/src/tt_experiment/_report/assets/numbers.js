// The numbers of a chart as a table, made when it is opened.

const MOST_ROWS = 500;

class Numbers {
  constructor(details, chart) {
    Object.assign(this, { details, chart });
    details?.addEventListener("toggle", () => this.refresh());
  }

  refresh() {
    if (!this.details?.open) return;
    const rows = this.rows();
    const curves = this.chart.shown;
    const head = [AXES[this.chart.view.axis].label, ...curves.map((curve) => curve.name)];
    const table = make("table", {},
      make("caption", {}, this.caption(rows.length)),
      make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col", class: "n" }, text)))),
      make("tbody", {}, ...rows.slice(0, MOST_ROWS).map(([place, values]) =>
        make("tr", {}, make("th", { scope: "row", class: "n" }, AXES[this.chart.view.axis].text(place)),
          ...curves.map((_, i) => make("td", { class: "n" }, values.has(i) ? String(values.get(i)) : ""))))));
    const box = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Numbers of ${this.chart.spec.title}` }, table);
    this.details.replaceChildren(this.details.querySelector("summary"), box);
  }

  rows() {
    const [low, high] = this.chart.domain();
    const found = new Map();
    this.chart.shown.forEach((curve, i) => {
      this.chart.places(curve).forEach((place, j) => {
        if (place < low || place > high) return;
        if (!found.has(place)) found.set(place, new Map());
        found.get(place).set(i, curve.value[j]);
      });
    });
    return [...found].sort(([a], [b]) => a - b);
  }

  caption(count) {
    const thinned = this.chart.shown.some((curve) => curve.total > curve.value.length);
    const all = thinned ? "Of long curves, the lowest and highest of each stretch; every number is in the metrics file." : "Every number as it was recorded.";
    return count > MOST_ROWS ? `${all} The first ${MOST_ROWS} of ${count} rows; zoom in for others.` : all;
  }
}
