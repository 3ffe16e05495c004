// The panel of answers: what the product is, the best five categories, recent ones, and the search for any other.

import {choiceList} from "./choices.js";
import {$, button, element, page, percent, plain, remember, remembered, visible} from "./dom.js";
import {at, held, heldOf, subject, urlOf, wordText} from "./entries.js";
import {request} from "./requests.js";
import {showMap, showMapOf} from "./stage.js";

const SHOWN = 40, RECENT = 4, EXAMPLES = 3;
const categories = new Map();    // source -> its categories, null while they are on their way
const examples = new Map();      // source and label -> a promise of its examples
let picksOnArrival = false, decide = () => {};
const found = choiceList($("search"), $("found"), "found-", {lines, pick, enter, leave: () => closeSearch()});

// decided: is called with a verdict and a label.
export function onDecision(decided) { decide = decided; }

export const isAbstained = () => subject().decision === "abstain";
export const firstLabel = () => subject().answers[0][0];

export function showFacts() {
  const entry = at.current, row = at.alone;
  const title = (entry.columns || []).map(([, text]) => text)[0];
  $("title").replaceChildren();
  const name = element("span", row ? visible(row.key_text) : entry.name, {id: "key"});
  if (title) $("title").append(element("span", visible(title), {className: "first"}), " ");
  $("title").append(name);
  const parts = [subject().decision && element("span", subject().decision, {className: "tag " + subject().decision}), "run " + subject().run];
  if (row) parts.push("this image alone");
  else if (entry.images.length > 1) parts.push(entry.images.length + " images");
  if (!entry.images[1] && entry.main.product !== null) parts.push("product " + visible(entry.main.product_text));
  if ("manySources" in page) parts.push(visible(entry.source_name));
  if (entry.link) parts.push(element("a", "Open in the shop", {href: entry.link, target: "_blank", rel: "noopener noreferrer", id: "shop-link"}));
  $("about").replaceChildren(...parts.filter(Boolean).flatMap((part, index) => (index ? [" · ", part] : [part])));
  $("columns").replaceChildren(...(entry.columns || []).slice(title ? 1 : 0).flatMap(([label, text]) => [element("dt", visible(label)), element("dd", visible(text))]));
}

export function showAnswers() {
  const shown = subject(), word = at.alone ? held(at.alone) : heldOf(at.current);
  const known = shown.answers.map(([label]) => label);
  $("answers").replaceChildren(...shown.answers.map(([label, share], index) => {
    const made = choice(label, index + 1, word);
    made.style.setProperty("--share", 100 * share + "%");
    made.append(element("span", percent(share), {className: "share"}));
    return listed(made);
  }));
  const recent = remembered("recent-" + at.current.source).filter((label) => !known.includes(label)).slice(0, RECENT);
  $("recent").replaceChildren(...recent.map((label, index) => listed(choice(label, index + 6, word))));
  showState(word);
  showActions();
}

function listed(made) {
  const item = element("li");
  item.append(made);
  return item;
}

function choice(label, key, word) {
  const made = button(null, () => decide("label", label), {className: word && word.label === label ? "said" : ""});
  made.append(element("kbd", key), element("span", visible(label), {className: "label"}));
  for (const kind of ["pointerenter", "focus"]) made.addEventListener(kind, (event) => { if (event.pointerType !== "touch") showMapOf(label); });
  for (const kind of ["pointerleave", "blur"]) made.addEventListener(kind, (event) => { if (event.pointerType !== "touch") showMap(0); });
  return made;
}

function showState(word) {
  const {holder} = at.current;
  if (holder && !word) { $("state").textContent = visible(holder) + " has this one at the moment"; return; }
  const row = at.alone || at.current.main, old = row.word;
  const by = word && old && !("pending" in row) ? " (" + visible(old.by) + ")" : "";
  const outdated = old && old.outdated && !("pending" in row) ? visible(old.by) + " chose " + wordText(old.verdict, old.label) + ", but the image has changed since." : "";
  $("state").textContent = word ? "Reviewed: " + wordText(word.verdict, word.label) + by : outdated;
}

// The places of the buttons never change; what the decision suggests is in colour, and Enter does it.
function showActions() {
  const label = visible(firstLabel()), isNone = isAbstained();
  $("accept").firstElementChild.textContent = "Accept " + label;
  for (const [id, isMain] of [["accept", !isNone], ["not-product", isNone]]) {
    $(id).classList.toggle("main", isMain);
    $(id).lastElementChild.textContent = isMain ? "Enter" : id === "accept" ? "A" : "N";
  }
  $("swipe-right").textContent = isNone ? "say “not a product”" : "accept";
}

export function noteChoice(source, label) {
  if (label === null) return;
  const name = "recent-" + source;
  remember(name, [label, ...remembered(name).filter((each) => each !== label)].slice(0, 12));
}

export function recentChoice(index) {
  const shown = $("recent").children[index];
  return shown && shown.firstElementChild;
}

// Examples of the same shop, of the first two categories: what people have called so, else what the model accepts.

export function showExamples() {
  const entry = at.current;
  $("examples").replaceChildren(...entry.answers.slice(0, 2).map(([label]) => {
    const group = element("div"), list = element("ul");
    group.append(element("h3", visible(label)), list);
    for (let index = 0; index < EXAMPLES; index++) list.append(element("li", null, {className: "empty"}));
    examplesOf(entry.source, label).then((found) => { if (entry === at.current) fill(list, found, entry); });
    return group;
  }));
}

function fill(list, found, entry) {
  const others = found.filter((each) => !entry.images.some((row) => row.item === each.item)).slice(0, EXAMPLES);
  others.forEach((each, index) => {
    const shown = list.children[index];
    shown.className = "";
    shown.replaceChildren(element("img", null, {alt: visible(each.key_text), title: visible(each.key_text), src: urlOf(each, 240)}));
  });
  if (!others.length) list.children[0].textContent = "none yet";
}

export function examplesOf(source, label) {
  const key = source + " " + label;
  if (!examples.has(key)) {
    const found = request("/api/examples/" + source + "?label=" + encodeURIComponent(label)).catch(() => { examples.delete(key); return []; });
    examples.set(key, found);
  }
  return examples.get(key);
}

// The search: every part that is typed is in the label, or in the shop's name or code, a synonym, or what is above.

export async function loadCategories(source) {
  if (categories.has(source)) return;
  categories.set(source, null);
  try {
    const found = await request("/api/categories/" + source);
    for (const each of found) each.texts = [each.label, each.name || "", each.code || "", ...each.also, ...each.above].map(plain);
    categories.set(source, found);
  } catch {
    categories.delete(source);
    setTimeout(() => { if (at.current && at.current.source === source) loadCategories(source); }, 5000);
    return;
  }
  if (document.activeElement !== $("search") || at.current.source !== source) return;
  const picks = picksOnArrival;
  find();
  if (picks) pick(found.picked);
}

const known = () => (at.current && categories.get(at.current.source)) || null;

function rank(category, parts) {
  const [label, ...others] = category.texts;
  if (!parts.every((part) => category.texts.some((text) => text.includes(part)))) return null;
  if (label.startsWith(parts[0])) return 0;
  if (parts.every((part) => label.includes(part))) return 1;
  return 2 + Math.min(...others.map((text, index) => (parts.some((part) => text.startsWith(part)) ? index : others.length + index)));
}

export function find() {
  const wanted = plain($("search").value.trim()), parts = wanted.split(/\s+/).filter(Boolean), all = known() || [];
  let finds = all;
  if (parts.length) finds = all.map((each) => [rank(each, parts), each]).filter(([place]) => place !== null).sort((a, b) => a[0] - b[0]).map(([, each]) => each).slice(0, SHOWN);
  found.set(finds, wanted);
  picksOnArrival = false;
  found.show(true);
}

function lines() {
  const isTree = !$("search").value.trim() && found.finds.some((each) => each.above.length), made = [];
  let above = [];
  found.finds.forEach((category, index) => {
    if (isTree) category.above.forEach((name, depth) => {
      if (above[depth] === name) return;
      above = category.above.slice(0, depth + 1);
      made.push(branch(name, depth));
    });
    if (isTree) above = category.above;
    made.push(option(category, index, isTree ? category.above.length : 0));
  });
  return made.length ? made : [empty(known() ? "no such category" : "the categories are still loading")];
}
function empty(text) {
  const made = element("li", text);
  made.setAttribute("role", "option");
  made.setAttribute("aria-disabled", "true");
  return made;
}

function branch(name, depth) {
  const made = element("li", visible(name), {className: "branch"});
  made.style.setProperty("--depth", depth);
  made.setAttribute("role", "presentation");
  return made;
}

function option(category, index, depth) {
  const made = found.option(index);
  made.style.setProperty("--depth", depth);
  made.append(element("span", visible(category.label), {className: "label"}));
  const hint = hintOf(category);
  if (hint) made.append(" ", element("span", visible(hint), {className: "hint"}));
  return made;
}

// Why a category was found, if not by its own name: what the shop calls it, or a synonym.
function hintOf(category) {
  const parts = plain($("search").value.trim()).split(/\s+/).filter(Boolean);
  const names = [category.name, category.code, ...category.also, ...category.above].filter(Boolean);
  if (!parts.length || parts.every((part) => plain(category.label).includes(part))) return category.name && category.name !== category.label ? category.name : "";
  return names.find((name) => parts.some((part) => plain(name).includes(part))) || "";
}

function pick(index) {
  if (found.finds[index] === undefined) return;
  const {label} = found.finds[index], entry = at.current;
  decide("label", label);
  closeSearch(entry !== at.current);
}

function closeSearch(isPast = false) {
  $("search").value = "";
  picksOnArrival = false;
  found.show(false);
  if (at.current && !isPast) at.current.element.focus({preventScroll: true});
}

function enter() {
  if (known()) pick(found.picked);
  else picksOnArrival = true;
}

export function watchSearch() {
  $("search").addEventListener("input", find);
  $("search").addEventListener("focus", find);
  $("search").addEventListener("blur", () => { picksOnArrival = false; found.show(false); });
}
