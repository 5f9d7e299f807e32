// Brings the page to the state that its address names, at the start and after each change.
const chip = make("span", {class: "chip", hidden: true});
let before = {};

// The address of the page without a filter.
const unfiltered = (state) => (lists ? hashOf({t: state.t ?? find("section[data-t]", lists).dataset.t}) : "#systems");

// Filters the tables and small charts to the system of the state.
function showSystem(state) {
  const at = data.systems.indexOf(state.s);
  for (const row of all(".heat tr[data-s], .multiples [data-s]")) row.hidden = at >= 0 && ![at, data.systems.indexOf(state.c)].includes(Number(row.dataset.s));
  for (const row of all(".board tr[data-s]")) {
    const one = Number(row.dataset.s), link = find("a.system", row), other = find("a.vs", row);
    row.classList.toggle("on", one === at || data.systems[one] === state.c);
    link.href = one === at ? unfiltered(state) : hashOf({s: data.systems[one], t: state.t});
    if (one === at) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    other.hidden = at < 0 || one === at;
    if (!other.hidden) other.href = hashOf({s: state.s, c: data.systems[one]});
  }
  chip.hidden = at < 0;
  if (at >= 0) {
    const also = state.c === undefined ? "Only " : "Compared: ";
    chip.replaceChildren(also, make("bdi", {}, state.s), ...(state.c === undefined ? [] : [" and ", make("bdi", {}, state.c)]), " ",
      make("a", {href: unfiltered(state)}, "Show all"));
  }
}

function show() {
  if (printed) return;
  const state = stateOf(location.hash), old = before, focused = document.activeElement;
  before = state;
  if (!lists) { showSystem(state); return; }
  const {section, hidden} = showList(state);
  showSystem(state);
  const {r, ...rest} = state;
  find(".back", bar).href = hashOf(rest);
  const card = showRow(state);
  if (moving) { moving = false; return; }
  if (state.r !== undefined && card) find("h3", card.element).focus();
  else if (old.r !== undefined && (focused === document.body || reader.contains(focused))) all("li a", section).find((link) => link.dataset.r === old.r)?.focus();
  else if (state.m !== old.m || state.c !== old.c) if (section === extra) toHeading();
  if (state.s !== old.s || state.t !== old.t || state.m !== old.m) {
    say(`${state.s === undefined ? "" : "Only " + state.s + ": "}${shown.length} row${shown.length === 1 ? "" : "s"} in the list` + (hidden ? `, ${hidden} of other systems left out.` : "."));
  }
}

function toHeading() {
  const title = find("h3", extra);
  title.tabIndex = -1;
  title.focus();
  panel.scrollIntoView();
}

// Links to panels scroll there and leave the filter as it is.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  const target = document.getElementById(link.getAttribute("href").slice(1));
  if (!target?.matches(".panel") || !location.hash.includes("=")) return;
  event.preventDefault();
  target.focus();
  target.scrollIntoView();
});

// On paper: the first ten rows of the list and what the numbers assume, open.
let printed = null;
addEventListener("beforeprint", () => {
  printed = [...shown.slice(0, 10).map((card) => card.element), ...all("details.why, #how details")].filter((one) => !one.open || one.hidden);
  for (const one of printed) { one.hidden = false; one.open = true; }
});
addEventListener("afterprint", () => {
  for (const one of printed ?? []) { one.open = false; one.hidden = one.parentElement === reader; }
  printed = null;
  show();
});

document.documentElement.classList.add("js");
for (const link of all("a[data-m]")) link.setAttribute("href", "#m=" + link.dataset.m);
for (const link of all(".board a.system")) link.after(" ", make("a", {class: "vs", hidden: true}, "compare"));
find("#top").append(chip);
if (lists) { startRows(); startLabels(); }
addEventListener("hashchange", show);
wide.addEventListener("change", show);
show();
scrollers();
// At its start the browser gives the focus to the target of the address after the script has run.
addEventListener("load", () => setTimeout(show));
