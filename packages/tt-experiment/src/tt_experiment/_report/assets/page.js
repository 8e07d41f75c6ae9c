// What a page does when it opens. The scripts before this one define; only this one acts.

function theme(button) {
  const names = ["auto", "light", "dark"];
  const show = (name) => {
    if (name === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    button.textContent = `Theme: ${name}`;
    button.dataset.name = name;
  };
  button.addEventListener("click", () => show(names[(names.indexOf(button.dataset.name) + 1) % 3]));
  show("auto");
}

function chartTools(box, view, data) {
  const axes = Object.keys(AXES).filter((name) => data.axes.some((axis) => axis[name]));
  const names = { step: "steps", epoch: "epochs", time: "time" };
  const smooth = make("input", { type: "range", min: 0, max: 0.99, step: 0.01, value: 0, "aria-label": "Smoothing" });
  const weight = make("output", {}, "0");
  smooth.addEventListener("input", () => {
    weight.textContent = String(Number(smooth.value));
    view.set({ smooth: Number(smooth.value) });
  });
  const reset = make("button", { type: "button", class: "button" }, "Reset zoom");
  reset.addEventListener("click", () => view.set({ domain: null }));
  view.listeners.push(() => (reset.disabled = view.domain === null));
  reset.disabled = true;
  if (axes.length > 1) box.append(choice("Horizontal axis", axes.map((name) => [name, names[name]]), "step", (axis) => view.set({ axis, domain: null })));
  if (data.kinds) box.append(choice("Curves", [["run", "runs"], ["group", "settings: mean and 95 %"]], view.kind, (kind) => view.set({ kind })));
  box.append(make("label", {}, "Smoothing", smooth, weight));
  if (data.marks?.length) box.append(toggle("Marks", true, (marks) => view.set({ marks })));
  box.append(reset, make("span", { class: "push" }, "Drag to zoom, double-click to reset"));
}

function keyToggles(view) {
  for (const button of all(".key-toggle")) {
    button.disabled = false;
    button.addEventListener("click", () => {
      const key = button.dataset.key;
      if (!view.hidden.delete(key)) view.hidden.add(key);
      for (const same of all(`.key-toggle[data-key="${key}"]`)) same.setAttribute("aria-pressed", String(!view.hidden.has(key)));
      view.set({});
    });
  }
}

function start() {
  document.documentElement.classList.add("js");
  const view = new View();
  theme(document.getElementById("theme"));
  all("table.sortable").forEach(sortable);
  all("input[data-table]").forEach(searchable);
  all(".confusion").forEach(switchable);
  all(".parallel").forEach((box) => new Parallel(box, view));
  const data = JSON.parse(document.getElementById("data").textContent);
  view.kind = data.kinds?.[0] ?? "run";
  all(".chart-tools").forEach((box) => chartTools(box, view, data));
  for (const spec of data.charts) new Chart(document.getElementById(spec.id), spec, data, view);
  keyToggles(view);
}

start();
