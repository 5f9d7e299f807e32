// Labels: right, wrong or a value for a row; kept in this browser under the page's name, and saved as labels.csv.
const store = "scorer-labels " + data.page;
let labels = {};
try { labels = JSON.parse(localStorage.getItem(store)) ?? {}; } catch { labels = {}; }

function keep() {
  try { localStorage.setItem(store, JSON.stringify(labels)); } catch { /* a browser that keeps nothing; the file can still be saved */ }
  showLabels();
}

function labelled(id) {
  const label = labels[id];
  if (!label) return "";
  return label.human !== null ? "labelled " + label.human : label.right ? "right" : "wrong";
}

// How a row was picked is the list in which it was labelled: a row of the random list that was found elsewhere is no random row.
function pickedFrom(card, state) {
  if (state.m !== undefined || partners.size) return "chosen";
  return shown.includes(card) && state.t ? state.t : "link";
}

function setLabel(card, state, change) {
  const label = labels[card.id] ?? {right: null, human: null, picked: pickedFrom(card, state), blind: panel.classList.contains("blind")};
  Object.assign(label, change);
  if (label.right === null && label.human === null) delete labels[card.id]; else labels[card.id] = label;
  keep();
}

function labelForm(card, state) {
  const article = find("article", card.element);
  find("fieldset", article)?.remove();
  const value = make("input", {type: "number", step: "any", min: data.scale?.[0], max: data.scale?.[1], inputmode: "decimal", id: "v=" + card.id});
  const hidden = panel.classList.contains("blind") && !labels[card.id];
  const buttons = card.score === null || hidden ? [] : [true, false].map((right) =>
    make("button", {type: "button", onclick: () => press(right)}, right ? "Right" : "Wrong"));
  const refresh = () => {
    const label = labels[card.id];
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(label?.right === (at === 0))));
    value.value = label?.human ?? "";
    card.element.classList.toggle("labelled", Boolean(label));
    for (const mark of all(`a[data-r="${CSS.escape(card.id)}"] .done`)) mark.textContent = labelled(card.id);
  };
  function press(right) {
    const same = labels[card.id]?.right === right;
    setLabel(card, state, same ? {right: null, human: null} : {right, human: right ? card.score : null});
    refresh();
    if (!same && !right) { value.focus(); say("Wrong. Which value is right?"); }
  }
  value.addEventListener("change", () => {
    const typed = value.value === "" || !value.checkValidity() ? null : Number(value.value);
    const right = typed === null || card.score === null ? labels[card.id]?.right ?? null : typed === card.score;
    setLabel(card, state, {human: typed, right});
    if (!value.checkValidity()) value.reportValidity();
    else refresh();
  });
  const range = data.scale ? ` from ${data.scale[0]} to ${data.scale[1]}` : "";
  article.append(make("fieldset", {}, make("legend", {}, buttons.length ? "Is the judge right?" : "Which value is right?"), ...buttons,
    make("label", {for: value.id}, (buttons.length ? "or a value" : "A value") + range), value));
  refresh();
}

const counted = make("span", {}), save = make("button", {type: "button", class: "first", onclick: saveLabels}, "Save labels.csv");
const discard = make("button", {type: "button", onclick: () => {
  if (confirm("Discard all labels of this page?")) { labels = {}; built = null; keep(); show(); }
}}, "Discard");
const next = make("p", {class: "note"}, "Then: ");
const blind = make("input", {type: "checkbox", id: "blind"});
const labelBar = make("div", {class: "labels"}, make("p", {}, blind, make("label", {for: "blind"}, "Hide the verdict until a row is labelled")),
  make("p", {}, counted, " ", save, " ", discard), next);

function showLabels() {
  const given = Object.values(labels), random = given.filter((label) => label.picked === "random").length;
  const open = given.filter((label) => label.right === false && label.human === null).length;
  const lacking = open ? ` ${open} marked wrong without a value: agreement needs one, or it looks better than it is.` : "";
  const others = given.length - random ? " The others are no random sample: leave them out of numbers about all rows." : "";
  counted.textContent = given.length ? `${given.length} labelled, ${random} of them in the random list.${others}${lacking}` : "";
  save.hidden = discard.hidden = next.hidden = !given.length;
}

function quotedCell(value) {
  const text = value === null || value === undefined ? "" : String(value);
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

function labelsFile() {
  const lines = [["shard", "row", "id", "system", "item", "score", "right", "human_label", "picked", "weight", "blind"]];
  for (const [id, label] of Object.entries(labels)) {
    const card = cards.get(id);
    if (!card) continue;
    const [shard, row] = id.split(":");
    lines.push([data.shards[shard] ?? shard, row, card.key, data.systems[card.system], card.item, card.score,
      label.right === null ? null : Number(label.right), label.human, label.picked,
      label.picked === "random" ? card.weight : null, Number(label.blind)]);
  }
  return lines.map((line) => line.map(quotedCell).join(",") + "\n").join("");
}

function saveLabels() {
  const address = URL.createObjectURL(new Blob([labelsFile()], {type: "text/csv;charset=utf-8"}));
  make("a", {href: address, download: "labels.csv"}).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  say("labels.csv is saved.");
}

function startLabels() {
  blind.addEventListener("change", () => { panel.classList.toggle("blind", blind.checked); opened.forEach((card) => labelForm(card, before)); });
  const code = make("code", {class: "cmd"}, data.estimate);
  next.append(code);
  copyButton(code);
  find(".tabs", lists).after(labelBar);
  showLabels();
}
