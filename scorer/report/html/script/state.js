"use strict";
// What the page shows is written in the fragment of its address, so that a link and the back button lead there:
// r a row, t a list of rows, m the rows of a mark, s the system that the page is filtered to, c another to compare it with.
const data = JSON.parse(document.getElementById("data").textContent);
const find = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const KEYS = ["t", "m", "s", "c", "r"];

function stateOf(hash) {
  const state = {};
  for (const part of hash.replace(/^#/, "").split("&")) {
    const key = part[0];
    if (part[1] !== "=" || !KEYS.includes(key)) continue;
    try { state[key] = decodeURIComponent(part.slice(2)); } catch { state[key] = part.slice(2); }
  }
  return state;
}

function hashOf(state) {
  const parts = KEYS.filter((key) => state[key] !== undefined && state[key] !== null);
  return "#" + parts.map((key) => key + "=" + encodeURIComponent(state[key]).replaceAll("%3A", ":")).join("&");
}

// An element: make("a", {href: "#rows"}, "text", another).
function make(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") made.addEventListener("click", value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const live = make("p", {class: "sr", "aria-live": "polite"});
document.body.append(live);
function say(sentence) { live.textContent = sentence; }
