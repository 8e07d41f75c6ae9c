// Elements of the page. Text only ever becomes a text node, so nothing that a run named is markup.

function make(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function draw(name, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "on") Object.entries(value).forEach(([type, act]) => node.addEventListener(type, act));
    else if (value !== null && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function all(selector, root = document) {
  return [...root.querySelectorAll(selector)];
}

function toggle(label, pressed, act, attributes = {}) {
  const button = make("button", { type: "button", class: "button", "aria-pressed": String(pressed), ...attributes }, label);
  button.addEventListener("click", () => {
    const now = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(now));
    act(now);
  });
  return button;
}

// Buttons of which one is pressed.
function choice(label, options, chosen, act) {
  const group = make("div", { class: "segmented", role: "group", "aria-label": label });
  for (const [value, text] of options) {
    const button = make("button", { type: "button", class: "button", "aria-pressed": String(value === chosen) }, text);
    button.addEventListener("click", () => {
      for (const other of group.children) other.setAttribute("aria-pressed", String(other === button));
      act(value);
    });
    group.append(button);
  }
  return group;
}
