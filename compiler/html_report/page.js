
"use strict";
function value(row, index) {
  const cell = row.cells[index];
  return cell.dataset.v === undefined ? cell.textContent : cell.dataset.v;
}
function compare(a, b) {
  const numbers = a !== "" && b !== "" && !isNaN(a) && !isNaN(b);
  return numbers ? a - b : String(a).localeCompare(String(b), "en", {numeric: true});
}
for (const button of document.querySelectorAll("table.sortable th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th"), body = head.closest("table").tBodies[0];
    const index = head.cellIndex, down = head.classList.contains("number");
    const before = head.getAttribute("aria-sort");
    const order = before ? (before === "ascending" ? "descending" : "ascending")
                         : (down ? "descending" : "ascending");
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const rows = Array.from(body.rows);
    rows.sort((a, b) => sign * compare(value(a, index), value(b, index)));
    body.append(...rows);
  });
}
const tip = document.getElementById("tip");
function show(event) {
  const found = event.target.closest ? event.target.closest("[data-tip]") : null;
  tip.hidden = !found;
  if (!found) return;
  tip.textContent = found.dataset.tip;
  const box = found.getBoundingClientRect();
  const x = event.clientX === undefined ? box.left : event.clientX;
  const y = event.clientY === undefined ? box.bottom : event.clientY;
  const right = document.documentElement.clientWidth - tip.offsetWidth - 8;
  const below = y + 16 + tip.offsetHeight < window.innerHeight;
  tip.style.left = Math.max(8, Math.min(x + 12, right)) + "px";
  tip.style.top = Math.max(8, below ? y + 16 : y - tip.offsetHeight - 12) + "px";
}
for (const name of ["mousemove", "focusin", "click"]) document.addEventListener(name, show);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
