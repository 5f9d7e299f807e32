// The panel of rows: a list (of a kind, of a mark, of two systems compared) and beside it the row that is read.
const cards = new Map(data.cards.map(([id, score, human, item, key, weight]) => [id, {id, score, human, item, key, weight}]));
for (const card of cards.values()) {
  card.element = document.getElementById("r=" + card.id).parentElement;
  card.element.hidden = true;
  card.system = card.element.dataset.s === undefined ? null : Number(card.element.dataset.s);
}
const panel = find("#rows"), lists = find("#lists"), reader = find("#cards");
const wide = matchMedia("(min-width: 60rem)");
const places = data.places;
const extra = make("section", {hidden: true});  // the list of a mark, or of two systems
let shown = [], partners = new Map(), opened = [], moving = false, built = null;

const written = (value) => (value === null ? "–" : value.toFixed(places).replace("-", "−"));

function snippet(card) {
  const text = find("[data-g] pre", card.element);
  return text ? text.textContent.slice(0, 140).replace(/\s+/g, " ") : "";
}

// What the other judges of a page of several said.
function byOthers(card) {
  const said = data.judges.length ? all(".verdicts p", card.element) : [];
  return said.filter((line) => data.judges.includes(find("span", line)?.textContent))
    .map((line) => make("span", {class: "human"}, find("span", line).textContent + " ", make("b", {class: "other"}, find("b", line).textContent)));
}

function item(card, state) {
  const other = partners.get(card.id);
  const label = find("h3", card.element);
  return make("li", {}, make("a", {href: hashOf({...state, r: card.id}), "data-r": card.id},
    make("b", {}, card.score === null ? find(".error", card.element)?.textContent ?? "–" : written(card.score)),
    other ? make("b", {class: "other"}, written(cards.get(other).score)) : null,
    ...(other ? [] : byOthers(card)),
    card.human === null || other ? null : make("span", {class: "human"}, "people " + written(card.human)),
    make("span", {class: "done"}, labelled(card.id)),
    make("span", {class: "label"}, other ? card.item ?? card.key ?? card.id : label.textContent),
    make("span", {class: "snippet", dir: "auto"}, snippet(card))));
}

// Without a list in its address the page shows the one that has the row, else the first that has rows.
function resolve(state) {
  if (data.marks[state.m] || (state.s !== undefined && state.c !== undefined)) return;
  const sections = all("section[data-t]", lists);
  for (const one of sections) one.ids ??= all("a[href^='#r=']", one).map((link) => link.hash.slice(3));
  const section = sections.find((one) => one.dataset.t === state.t) ?? sections.find((one) => one.ids.includes(state.r)) ??
    sections.find((one) => one.ids.length) ?? sections[0];
  state.t = section.dataset.t;
}

// The section, its rows, and how many rows there are of the kind, in the page or not.
function chosen(state) {
  partners = new Map();
  if (data.marks[state.m]) return ofMark(state);
  if (state.s !== undefined && state.c !== undefined) return ofPair(state);
  const section = all("section[data-t]", lists).find((one) => one.dataset.t === state.t);
  return {section, ids: section.ids, count: Number(section.dataset.n)};
}

function ofMark(state) {
  const [title, count, ids] = data.marks[state.m], condition = conditions[state.m];
  const few = ids.length === count ? "" : ids.length ? `${ids.length} of these rows are in the page. ` : "None of these rows is in the page. ";
  extra.replaceChildren(heading(title ?? titleOf(state.m), count), make("p", {class: "note"}, few), make("ol"));
  if (condition && data.show) extra.append(commandLine("All of them: ", `${data.show} ${condition}`));
  return {section: extra, ids, count};
}

// The condition of each mark: so many characters of the one before, and the rest.
let last = "";
const conditions = data.marks.map(([, , , same, rest]) => (rest === undefined ? null : (last = last.slice(0, same) + rest)));

// A cell of a table is named by the headings of its row and its column.
function titleOf(mark) {
  const cell = find(`a[href="#m=${Number(mark)}"]`).closest("td");
  const column = cell.closest("table").tHead.rows[0].cells[cell.cellIndex];
  return `${find("th bdi", cell.parentElement).textContent}, ${find("bdi", column).textContent}`;
}

function ofPair(state) {
  const a = data.systems.indexOf(state.s), b = data.systems.indexOf(state.c);
  const pair = data.pairs.find(([x, y]) => (x === a && y === b) || (x === b && y === a));
  let rows = pair?.[4] ? pair[4].map(([x, y]) => (pair[0] === a ? [x, y] : [y, x])) : [];
  rows = rows.filter(([x, y]) => cards.has(x) && cards.has(y));
  if (!rows.length) rows = byItem(a, b);
  for (const [x, y] of rows) partners.set(x, y);
  const difference = pair ? `${data.systems[pair[0]]} minus ${data.systems[pair[1]]}: ${pair[2]}, ${pair[3]} item${pair[3] === "1" ? "" : "s"}. ` : "";
  const where = rows.length ? "Rows of both on the same item, the largest differences first." : "The page holds no item with rows of both.";
  extra.replaceChildren(heading(`${state.s} and ${state.c}`, null), make("p", {class: "note", dir: "auto"}, difference + where), make("ol"));
  return {section: extra, ids: rows.map(([x]) => x), count: rows.length};
}

function byItem(a, b) {
  const of = (system) => [...cards.values()].filter((card) => card.system === system && card.item !== null && card.score !== null);
  const others = new Map(of(b).map((card) => [card.item, card]));
  const both = of(a).filter((card) => others.has(card.item)).map((card) => [card, others.get(card.item)]);
  return both.sort(([a1, b1], [a2, b2]) => Math.abs(a2.score - b2.score) - Math.abs(a1.score - b1.score))
    .map(([x, y]) => [x.id, y.id]);
}

function heading(title, count) {
  return make("h3", {dir: "auto"}, title, " ", count === null ? null : make("small", {}, count.toLocaleString("en")));
}

function commandLine(before, typed) {
  const code = make("code", {class: "cmd"}, typed), line = make("p", {}, before, code);
  copyButton(code);
  return line;
}

// The list is made anew only where it is another one, so that the link in focus stays.
function showList(state) {
  resolve(state);
  const {r, ...rest} = state;
  if (built?.of === hashOf(rest)) return built;
  const {section, ids} = chosen(state);
  const system = state.s === undefined || partners.size ? -1 : data.systems.indexOf(state.s);
  shown = ids.map((id) => cards.get(id)).filter((card) => card && (system < 0 || card.system === system));
  for (const other of lists.children) if (other.tagName === "SECTION") other.hidden = other !== section;
  const list = find("ol", section);
  if (list) list.replaceChildren(...shown.map((card) => item(card, rest)));
  for (const link of all(".tabs a", lists)) {
    link.href = hashOf({t: link.dataset.t, s: state.s});
    if (section.dataset.t === link.dataset.t) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
  }
  built = {section, hidden: ids.length - shown.length, of: hashOf(rest)};
  return built;
}

// Opens the row of the state; on a wide page the first of the list where the state names none.
function showRow(state) {
  const card = cards.get(state.r) ?? (wide.matches && state.r === undefined ? shown[0] : undefined);
  const now = card ? [card, cards.get(partners.get(card.id))].filter(Boolean) : [];
  for (const old of opened) { old.element.hidden = true; old.element.open = false; }
  for (const one of now) { one.element.hidden = false; one.element.open = true; labelForm(one, state); }
  opened = now;
  reader.classList.toggle("two", now.length > 1);
  panel.classList.toggle("reading", state.r !== undefined && now.length > 0);
  missing.hidden = state.r === undefined || now.length > 0;
  missing.textContent = missing.hidden ? "" : `Row ${state.r} is not in this page.`;
  const at = shown.indexOf(card);
  bar.hidden = !card;
  find(".at", bar).textContent = at < 0 ? "" : `${at + 1} of ${shown.length}`;
  step(find(".previous", bar), state, shown[at - 1]);
  step(find(".next", bar), state, at < 0 ? undefined : shown[at + 1]);
  for (const link of all("li a", lists)) {
    const current = card && link.dataset.r === card.id;
    if (current) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    if (current && wide.matches) keepInView(link);
  }
  return card;
}

function keepInView(link) {
  const frame = link.closest("ol"), top = link.offsetTop - frame.offsetTop;
  if (top < frame.scrollTop || top + link.offsetHeight > frame.scrollTop + frame.clientHeight) frame.scrollTop = top - 40;
}

function step(link, state, card) {
  if (card) link.href = hashOf({...state, r: card.id}); else link.removeAttribute("href");
}

const missing = make("p", {class: "note", hidden: true});
const bar = make("div", {class: "bar", hidden: true},
  make("a", {class: "back"}, "Back to the list"), make("span", {class: "at"}),
  make("a", {class: "previous"}, "Previous"), make("a", {class: "next"}, "Next"),
  make("button", {type: "button", onclick: () => copy(location.href.split("#")[0] + "#r=" + opened[0].id, "The link is copied.")}, "Copy link"));

function startRows() {
  if (!lists) return;
  const tabs = all("section[data-t]", lists).map((section) => make("a", {href: "#t=" + section.dataset.t, "data-t": section.dataset.t},
    ...[...find("h3", section).childNodes].map((node) => node.cloneNode(true))));
  const nav = make("nav", {class: "tabs", "aria-label": "Kinds of rows"}, ...tabs);
  lists.before(nav);
  lists.append(extra);
  lists.prepend(nav);
  reader.prepend(bar, missing);
  lists.addEventListener("keydown", (event) => {
    const by = {j: 1, ArrowDown: 1, k: -1, ArrowUp: -1}[event.key];
    const link = event.target.closest("li a");
    if (!by || !link || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const next = all("li a", lists).filter((one) => !one.closest("[hidden]"));
    const to = next[next.indexOf(link) + by];
    if (!to) return;
    to.focus();
    if (wide.matches) { moving = true; location.replace(to.href); }
  });
  lists.addEventListener("click", (event) => {
    const link = event.target.closest("li a");
    if (link && link.hash === location.hash) find("h3", cards.get(link.dataset.r).element).focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && stateOf(location.hash).r !== undefined) { event.preventDefault(); location.hash = find(".back", bar).hash; }
  });
}
