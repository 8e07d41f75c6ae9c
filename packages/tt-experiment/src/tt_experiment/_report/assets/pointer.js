// Mouse, wheel and keys on a chart.

class Pointer {
  constructor(chart) {
    Object.assign(this, { chart, start: null });
    const on = (type, act) => chart.svg.addEventListener(type, act, { passive: false });
    on("pointerdown", (event) => this.down(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.up(event));
    on("pointercancel", () => (this.start = null));
    on("pointerleave", () => this.start === null && chart.tip.show(null));
    on("blur", () => chart.tip.show(null));
    on("dblclick", () => chart.view.set({ domain: null }));
    on("wheel", (event) => this.wheel(event));
    on("keydown", (event) => this.key(event));
  }

  at(event) {
    const box = this.chart.svg.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  down(event) {
    if (event.button || event.pointerType === "touch") return; // touch scrolls
    this.start = this.at(event).x;
    this.chart.svg.setPointerCapture(event.pointerId);
  }

  move(event) {
    const { chart } = this;
    const { x, y } = this.at(event);
    chart.tip.show(chart.x.back(x), y);
    if (this.start === null) return;
    const [low, high] = this.stretch(x);
    chart.over.append(draw("rect", { ...chart.box, class: "brush", x: low, width: high - low }));
  }

  up(event) {
    if (this.start === null) return;
    const [low, high] = this.stretch(this.at(event).x);
    this.start = null;
    if (high - low > 6) this.chart.zoomTo(this.chart.x.back(low), this.chart.x.back(high));
  }

  stretch(end) {
    const { x, width } = this.chart.box;
    return [this.start, end].map((place) => Math.min(Math.max(place, x), x + width)).sort((a, b) => a - b);
  }

  wheel(event) {
    const wanted = event.ctrlKey || event.metaKey || document.activeElement === this.chart.svg;
    if (!wanted) return; // the page scrolls
    event.preventDefault();
    this.chart.zoom(event.deltaY < 0 ? 0.8 : 1.25, this.chart.x.back(this.at(event).x));
  }

  key(event) {
    const { chart } = this;
    const [low, high] = chart.domain();
    const middle = chart.tip.place ?? (low + high) / 2;
    const acts = {
      ArrowLeft: () => this.walk(-1),
      ArrowRight: () => this.walk(1),
      Home: () => chart.tip.show(low),
      End: () => chart.tip.show(high),
      "+": () => chart.zoom(0.7, middle),
      "=": () => chart.zoom(0.7, middle),
      "-": () => chart.zoom(1.4, middle),
      0: () => chart.view.set({ domain: null }),
      Escape: () => chart.tip.show(null),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !acts[event.key]) return;
    event.preventDefault();
    acts[event.key]();
    chart.tip.speak();
  }

  // To the next record of any curve.
  walk(direction) {
    const { chart } = this;
    const [low, high] = chart.domain();
    const now = chart.tip.place;
    if (now === null) return chart.tip.show(chart.tip.found(direction > 0 ? low : high)?.place ?? null);
    const ahead = (place) => (place - now) * direction > 0 && place >= low && place <= high;
    const places = chart.shown.flatMap((curve) => chart.places(curve)).filter(ahead);
    if (places.length) chart.tip.show(places.reduce((best, place) => (Math.abs(place - now) < Math.abs(best - now) ? place : best)));
  }
}
