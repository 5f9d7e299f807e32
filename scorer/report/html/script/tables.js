// Columns sort by a button in their heading. Brackets of ties are shown only in the order in which they hold.
function sortable(table) {
  const body = table.tBodies[0], original = [...body.rows];
  for (const heading of all("th[data-sort]", table)) {
    const button = make("button", {type: "button", onclick: () => sort(heading)}, ...heading.childNodes);
    heading.append(button);
  }
  function sort(heading) {
    const numeric = heading.dataset.sort === "number", before = heading.getAttribute("aria-sort");
    const descending = before ? before === "ascending" : numeric;
    const at = heading.cellIndex;
    const value = (row) => {
      const shown = row.cells[at].textContent;
      return numeric ? parseFloat(shown.replace("−", "-").replaceAll(",", "").match(/-?[\d.]+/)?.[0]) : shown;
    };
    const order = (a, b) => {
      const x = value(a), y = value(b);
      if (!numeric) return x.localeCompare(y, undefined, {numeric: true});
      if (isNaN(x) || isNaN(y)) return (isNaN(x) - isNaN(y)) * (descending ? -1 : 1);
      return x - y;
    };
    const sorted = [...original].sort((a, b) => (descending ? order(b, a) : order(a, b)));
    body.append(...sorted);
    for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
    table.classList.toggle("resorted", sorted.some((row, index) => row !== original[index]));
  }
}
all("table").filter((table) => find("th[data-sort]", table)).forEach(sortable);

// A table wider than the page scrolls; the keyboard has to reach it.
function scrollers() {
  for (const frame of all(".wide")) {
    const wide = frame.scrollWidth > frame.clientWidth + 1;
    for (const [key, value] of [["tabindex", "0"], ["role", "region"], ["aria-label", find("caption", frame).textContent]]) {
      if (wide) frame.setAttribute(key, value); else frame.removeAttribute(key);
    }
  }
}
addEventListener("resize", scrollers);
addEventListener("toggle", scrollers, true);

// Every command has a button that copies it.
function copy(text, done) {
  const fall_back = () => {
    const area = make("textarea", {"aria-hidden": "true"});
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };
  Promise.resolve(navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject()).catch(fall_back);
  say(done);
}
function copyButton(code) {
  const button = make("button", {type: "button", class: "copy", onclick: () => {
    copy(code.textContent, "The command is copied.");
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  }}, "Copy");
  code.after(" ", button);
}
all("code.cmd").forEach(copyButton);
