// A chart of curves. `Tip` says what is under the crosshair, `Pointer` takes mouse and keyboard.

const ROOM = { left: 62, right: 14, top: 14, bottom: 42 };
const HEIGHT = 290;
const LABEL = 72; // room of the name of an attempt

class Chart {
  constructor(figure, spec, data, view) {
    Object.assign(this, { spec, data, view, log: spec.log });
    this.live = make("div", { class: "live" });
    this.svg = draw("svg", {
      height: HEIGHT, tabindex: 0, role: "application", "aria-roledescription": "interactive chart",
      "aria-label": `${spec.title}: ${spec.about}`, "aria-describedby": "chart-keys",
    });
    this.live.append(this.svg);
    figure.append(this.live);
    figure.querySelector(".chart-head").append(this.logButton());
    this.tip = new Tip(this);
    this.pointer = new Pointer(this);
    this.numbers = new Numbers(figure.parentElement.querySelector(".numbers"), this);
    view.listeners.push(() => this.render());
    new ResizeObserver(() => this.render()).observe(this.live);
  }

  logButton() {
    const act = (on) => {
      this.log = on;
      this.render();
    };
    return toggle("log", this.log, act, { "aria-label": `Logarithmic scale for ${this.spec.title}` });
  }

  get shown() {
    const { hidden, kind } = this.view;
    return this.spec.series.filter((curve) => !hidden.has(curve.key) && (curve.kind ?? "run") === kind);
  }

  places(curve) {
    const axes = this.data.axes[curve.axis];
    return axes[this.view.axis] ?? axes.step;
  }

  whole() {
    return bounds(this.shown.flatMap((curve) => [this.places(curve)[0], this.places(curve).at(-1)]), false, 0);
  }

  domain() {
    return this.view.domain ?? this.whole();
  }

  // Smoothed values by curve; without smoothing there are none.
  smooth() {
    const { smooth } = this.view;
    if (!smooth) return new Map();
    const pace = Math.max(...this.shown.map((curve) => {
      const places = this.places(curve);
      return (places.length - 1) / (places.at(-1) - places[0] || 1);
    }));
    return new Map(this.shown.map((curve) => [curve, smoothed(this.places(curve), curve.value, smooth, pace)]));
  }

  // Values that the scale of y has to hold: those in view.
  heights(low, high) {
    const held = [];
    for (const curve of this.shown) {
      this.places(curve).forEach((place, i) => {
        if (place < low || place > high) return;
        held.push(curve.value[i]);
        if (this.smoothed.has(curve)) held.push(this.smoothed.get(curve)[i]);
        if (curve.low) held.push(curve.low[i], curve.high[i]);
      });
    }
    return held;
  }

  render() {
    this.width = this.live.clientWidth;
    if (!this.width) return;
    const [low, high] = this.domain();
    const [right, bottom] = [this.width - ROOM.right, HEIGHT - ROOM.bottom];
    this.box = { x: ROOM.left, y: ROOM.top - 8, width: right - ROOM.left, height: bottom - ROOM.top + 8 };
    const seen = { ...this.box, x: this.box.x - 6, width: this.box.width + 12, height: this.box.height + 4 };
    this.x = scale(low, high, ROOM.left, right);
    this.smoothed = this.smooth();
    this.y = scale(...bounds(this.heights(low, high), this.log, 0.06), bottom, ROOM.top, this.log);
    const clip = `clip-${this.spec.id}`;
    const curves = this.shown.flatMap((curve) => this.lines(curve));
    this.over = draw("g");
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.svg.replaceChildren(
      draw("defs", {}, draw("clipPath", { id: clip }, draw("rect", seen))),
      ...this.frame(right, bottom),
      draw("g", { "clip-path": `url(#${clip})` }, ...this.marks(bottom), ...curves),
      this.over,
    );
    this.tip.refresh();
    this.numbers.refresh();
  }

  frame(right, bottom) {
    const { x, y } = this;
    const axis = AXES[this.view.axis];
    const rows = (this.log ? logTicks : ticks)(y.low, y.high, 6).flatMap((value) => [
      draw("line", { class: "grid", x1: ROOM.left, x2: right, y1: y(value), y2: y(value) }),
      draw("text", { class: "tick end", x: ROOM.left - 8, y: y(value) + 4 }, short(value)),
    ]);
    const columns = axis.ticks(x.low, x.high, Math.max(2, Math.floor(this.width / 90))).flatMap((value) => [
      draw("line", { class: "axis", x1: x(value), x2: x(value), y1: bottom, y2: bottom + 4 }),
      draw("text", { class: "tick middle", x: x(value), y: bottom + 18 }, axis.text(value)),
    ]);
    return [
      ...rows,
      ...columns,
      draw("line", { class: "axis", x1: ROOM.left, x2: right, y1: bottom, y2: bottom }),
      draw("text", { class: "tick middle", x: (ROOM.left + right) / 2, y: HEIGHT - 6 }, axis.label),
    ];
  }

  marks(bottom) {
    if (!this.view.marks) return [];
    const named = []; // names that would lie on each other are only told by hovering
    return (this.data.marks ?? []).flatMap((mark) => {
      const place = this.x(mark[this.view.axis] ?? mark.step);
      const title = draw("title", {}, mark.label);
      if (mark.kind === "checkpoint") return [draw("path", { class: "saved", d: `M${place - 4} ${bottom}h8l-4 -7z` }, title)];
      const late = place > this.width - 90;
      const left = late ? place - LABEL : place;
      const room = named.every((other) => Math.abs(left - other) >= LABEL);
      if (room) named.push(left);
      return [
        draw("line", { class: "mark", x1: place, x2: place, y1: ROOM.top - 8, y2: bottom }, title),
        ...(room ? [draw("text", { class: late ? "tick end" : "tick", x: place + (late ? -4 : 4), y: ROOM.top + 2 }, mark.label)] : []),
      ];
    });
  }

  lines(curve) {
    const places = this.places(curve);
    const faded = this.view.faded.has(curve.key) ? "faded" : "";
    const line = (values, style) =>
      draw("path", { class: `curve s${curve.colour} ${style} ${faded}`, "data-key": curve.key, d: linePath(this.x, this.y, places, values, this.log) });
    const parts = [];
    if (curve.low) parts.push(draw("path", { class: `band s${curve.colour}`, d: bandPath(this.x, this.y, places, curve, this.log) }));
    if (this.smoothed.has(curve)) parts.push(line(curve.value, "raw"), line(this.smoothed.get(curve), "smooth"));
    else parts.push(line(curve.value, ""), ...this.dots(curve, places));
    if (this.view.marks && this.drawable(curve.value[curve.best])) {
      const [cx, cy] = [this.x(places[curve.best]), this.y(curve.value[curve.best])];
      parts.push(draw("circle", { class: `best-ring s${curve.colour}`, cx, cy, r: 4.5 }, draw("title", {}, `best: ${curve.value[curve.best]}`)));
    }
    return parts;
  }

  dots(curve, places) {
    const few = this.spec.series.length <= 8 && places.length <= 60;
    return (few ? [...places.keys()] : lonely(curve.value))
      .filter((i) => this.drawable(curve.value[i]))
      .map((i) => draw("circle", { class: `dot s${curve.colour}`, cx: this.x(places[i]), cy: this.y(curve.value[i]), r: 2.4 }));
  }

  drawable(value) {
    return isNumber(value) && (!this.log || value > 0);
  }

  // Narrow or widen the view, never beyond what there is.
  zoomTo(low, high) {
    const [first, last] = this.whole();
    const [a, b] = [Math.max(low, first), Math.min(high, last)];
    if (b - a > (last - first) * 1e-6) this.view.set({ domain: a <= first && b >= last ? null : [a, b] });
  }

  zoom(factor, around) {
    const [low, high] = this.domain();
    this.zoomTo(around - (around - low) * factor, around + (high - around) * factor);
  }
}
