// Parallel coordinates: the drawing is in the page; here it is brushed.

class Parallel {
  constructor(box, view) {
    Object.assign(this, { box, view, limits: new Map() });
    this.lines = all(".curve", box);
    this.status = box.querySelector(".brush-status");
    for (const rail of all(".rail", box)) this.listen(rail);
    for (const line of this.lines) {
      line.addEventListener("pointerenter", () => line.classList.add("near"));
      line.addEventListener("pointerleave", () => line.classList.remove("near"));
    }
    const clear = make("button", { type: "button", class: "button" }, "Clear");
    clear.addEventListener("click", () => {
      this.limits.clear();
      this.update();
    });
    this.status.after(clear);
    this.update();
  }

  listen(rail) {
    const svg = rail.ownerSVGElement;
    const place = (event) => {
      const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      return Math.min(Math.max(point.y, Number(rail.dataset.top)), Number(rail.dataset.bottom));
    };
    rail.addEventListener("pointerdown", (event) => {
      rail.setPointerCapture(event.pointerId);
      this.start = place(event);
    });
    rail.addEventListener("pointermove", (event) => {
      if (rail.hasPointerCapture(event.pointerId)) this.limit(rail, this.start, place(event));
    });
    rail.addEventListener("pointerup", (event) => {
      if (Math.abs(place(event) - this.start) < 3) this.limit(rail, null);
    });
    rail.addEventListener("keydown", (event) => this.key(rail, event));
  }

  key(rail, event) {
    const [top, bottom] = [Number(rail.dataset.top), Number(rail.dataset.bottom)];
    const [a, b] = this.limits.get(rail) ?? [top, bottom];
    const by = (bottom - top) / 20;
    const move = { ArrowUp: -by, ArrowDown: by }[event.key];
    if (event.key === "Escape") this.limit(rail, null);
    else if (move && event.shiftKey) this.limit(rail, a, Math.min(Math.max(b + move, a), bottom));
    else if (move) this.limit(rail, Math.min(Math.max(a + move, top), b), b);
    else return;
    event.preventDefault();
  }

  limit(rail, start, end) {
    if (start === null) this.limits.delete(rail);
    else this.limits.set(rail, [Math.min(start, end), Math.max(start, end)]);
    this.update();
  }

  update() {
    for (const rail of all(".rail", this.box)) {
      rail.querySelector(".brush")?.remove();
      const range = this.limits.get(rail);
      if (range) rail.append(draw("rect", { class: "brush", x: Number(rail.dataset.x) - 9, y: range[0], width: 18, height: range[1] - range[0] }));
    }
    const out = new Set(this.lines.filter((line) => !this.holds(line)).map((line) => line.dataset.key));
    for (const line of this.lines) line.classList.toggle("out", out.has(line.dataset.key));
    for (const row of all("tr[data-key]")) row.classList.toggle("out", out.has(row.dataset.key));
    const kept = this.lines.length - out.size;
    this.status.textContent = this.limits.size ? `${kept} of ${this.lines.length} runs are inside` : "";
    this.view.set({ faded: out });
  }

  holds(line) {
    const places = line.dataset.places.split(" ");
    return [...this.limits].every(([rail, [low, high]]) => {
      const place = places[Number(rail.dataset.column)];
      return place !== "" && Number(place) >= low - 0.51 && Number(place) <= high + 0.51;
    });
  }
}
