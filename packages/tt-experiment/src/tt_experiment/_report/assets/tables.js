// Tables that sort and filter.

function sortable(table) {
  const heads = all("thead th[data-sort]", table);
  for (const head of heads) {
    const button = make("button", { type: "button", class: "sort" }, ...head.childNodes);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending" || (!head.hasAttribute("aria-sort") && head.dataset.sort === "down");
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      sortRows(table.tBodies[0], head.cellIndex, down);
    });
    head.append(button);
  }
}

function sortRows(body, column, down) {
  const rows = [...body.rows].map((row) => [cellKey(row.cells[column]), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // empty ones go last either way
    const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), undefined, { numeric: true });
    return down ? -order : order;
  });
  body.append(...rows.map(([, row]) => row));
}

function cellKey(cell) {
  const text = cell?.dataset.value ?? cell?.textContent.trim() ?? "";
  if (text === "" || text === "nan" || text === "\u2013") return null;
  const value = text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text);
  return Number.isNaN(value) ? text : value;
}

function searchable(input) {
  const table = document.getElementById(input.dataset.table);
  const count = make("span", { class: "dim", role: "status" });
  input.closest("label").after(count);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    count.textContent = words.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
}

// A confusion matrix shows counts or shares of its rows.
function switchable(box) {
  const cells = all("[data-count]", box);
  const show = (what) => cells.forEach((cell) => (cell.textContent = cell.dataset[what]));
  box.querySelector(".matrix-tools").append(choice("What the cells show", [["count", "counts"], ["share", "% of row"]], "count", show));
}
