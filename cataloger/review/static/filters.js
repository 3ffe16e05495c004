// The filters: chips of what is set, a field that completes what can be added with its count, and saved views.

import {choiceList} from "./choices.js";
import {$, button, element, page, percent, plain, remember, remembered, visible} from "./dom.js";
import {request} from "./requests.js";

const NAMES = {category: "category", decision: "decision", below: "confidence below", run: "run", product: "product", source: "source", image: "image"};
const SHOWN = 30;
const CHOSEN = {reviewed: "show", order: "order", by: "by", whose: "for"};  // what stands beside the field, on a wide screen
const found = choiceList($("filter"), $("filter-list"), "filter-", {lines, pick, enter, leave: () => $("filter").blur()});
let facets = null;

const shown = (name, value) => (name === "below" ? percent(Number(value)) : visible(value));
const current = () => new URLSearchParams(page.query);

export function address(changes) {
  const query = current();
  for (const [name, value] of Object.entries(changes)) if (value === null) query.delete(name); else query.set(name, value);
  return "/?" + query;
}

const go = (changes) => location.assign(address(changes));

// What is set of what can be assigned to somebody, for people.
export const partText = () => [...current()].filter(([name]) => name in NAMES).map(([name, value]) => NAMES[name] + " " + shown(name, value)).join(", ");

export function showChips() {
  $("chips").replaceChildren(...[...current()].filter(([name]) => name in NAMES).map(([name, value]) => {
    const item = element("li");
    item.append(element("span", NAMES[name] + " "), element("b", shown(name, value)));
    item.append(button("×", () => go({[name]: null}), {ariaLabel: "Remove the filter " + NAMES[name] + " " + shown(name, value)}));
    return item;
  }));
  $("to-queue").href = address({view: null});
  $("to-survey").href = address({view: "survey"});
}

export async function loadFacets() {
  facets ||= request("/api/facets?" + page.query).catch(() => { facets = null; return {}; });
  return facets;
}

// What else the field leads to: what stands beside it, and saved views. So no key needs a mouse, and a phone no room.
function others() {
  const chosen = Object.entries(CHOSEN).filter(([id]) => !$(id).parentElement.hidden).flatMap(([id, name]) =>
    [...$(id).options].filter((option) => option.value !== $(id).value).map((option) => ({name, text: option.text, changes: {[id]: option.value}})));
  const views = remembered("views").map(([text, query]) => ({name: "saved view", text, href: "/?" + query}));
  return [...views, {name: "saved view", text: "save or remove …", does: openSaved}, ...chosen];
}

// What can be added: the values of the ledger with their counts, and what was typed as a product, run or confidence.
async function find() {
  const typed = $("filter").value.trim(), wanted = plain(typed).split(/\s+/).filter(Boolean), values = await loadFacets();
  const known = Object.entries(values).flatMap(([name, values]) => values.filter(([value]) => value !== null && value !== "").map(([value, count]) => ({name, value: String(value), count})));
  known.sort((a, b) => (b.name === "decision") - (a.name === "decision"));
  const fits = (text) => wanted.every((part) => plain(text).includes(part));
  const finds = known.filter(({name, value}) => fits(NAMES[name] + " " + value)).slice(0, SHOWN);
  finds.push(...others().filter(({name, text}) => fits(name + " " + text)));
  if (/^(0?\.\d+|\d{1,2}%)$/.test(typed)) finds.unshift({name: "below", value: String(typed.endsWith("%") ? parseInt(typed, 10) / 100 : Number(typed))});
  if (typed) finds.push({name: "product", value: typed});
  found.set(finds, typed);
  found.show(document.activeElement === $("filter"));
}

function lines() {
  return found.finds.map(({name, value, text, count}, index) => {
    const made = found.option(index);
    made.append(element("span", (text ? name : NAMES[name]) + " ", {className: "hint"}), element("span", text ? visible(text) : shown(name, value), {className: "label"}));
    if (count !== undefined) made.append(element("span", count.toLocaleString(), {className: "count"}));
    return made;
  });
}

function pick(index) {
  const chosen = found.finds[index];
  if (chosen && chosen.does) chosen.does();
  else if (chosen && chosen.href) location.assign(chosen.href);
  else if (chosen) go(chosen.changes || {[chosen.name]: chosen.value});
}

function enter() {
  find().then(() => pick(Math.max(found.picked, 0)));
}

// Saved views: names for the filters of an address, in this browser.

function showSaved() {
  const views = remembered("views");
  $("saved-list").replaceChildren(...views.map(([name, query], index) => {
    const item = element("li");
    item.append(element("a", visible(name), {href: "/?" + query}), button("Remove", () => { remember("views", views.filter((_, other) => other !== index)); showSaved(); }, {ariaLabel: "Remove the view " + visible(name)}));
    return item;
  }));
  if (!views.length) $("saved-list").append(element("li", "None yet. A view is the filters that are set; it is kept in this browser.", {className: "soft"}));
}

function openSaved() {
  $("filter").value = "";
  $("filter").blur();
  showSaved();
  $("saved-views").showModal();
}

function onSaved() {
  const name = $("saved-name").value.trim();
  if ($("saved-views").returnValue === "save" && name) remember("views", [...remembered("views").filter(([other]) => other !== name), [name, page.query]]);
  $("saved-name").value = "";
}

export function watchFilters() {
  showChips();
  $("filter").addEventListener("focus", find);
  $("filter").addEventListener("input", find);
  $("filter").addEventListener("blur", () => found.show(false));
  for (const id of ["reviewed", "order", "by", "whose"]) $(id).addEventListener("change", () => go({[id]: $(id).value}));
  $("saved").addEventListener("click", openSaved);
  $("saved-views").addEventListener("close", onSaved);
}
