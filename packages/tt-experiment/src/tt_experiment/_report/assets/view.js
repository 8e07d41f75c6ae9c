// What the charts of a page share: axis, zoom, smoothing, and which curves are drawn.

class View {
  constructor() {
    this.axis = "step";
    this.smooth = 0;
    this.marks = true;
    this.domain = null; // [low, high] on the axis of x, or everything
    this.hidden = new Set(); // keys of curves
    this.faded = new Set();
    this.kind = "run"; // or "group": what a comparison draws
    this.listeners = [];
  }

  set(changes) {
    Object.assign(this, changes);
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.listeners.forEach((listen) => listen()));
  }
}
