// The queue below the work, and the selection in it.

import {$, element, page, percent, say, visible} from "./dom.js";
import {at, byId, entries, entryOf, hasConflict, heldOf, isDone, isSurvey, selected, urlOf, wordText} from "./entries.js";
import {address} from "./filters.js";
import {request} from "./requests.js";

const AHEAD = 4000, FRESH = 60000;
const loading = {following: null, isLoading: false, hasEnded: false, ahead: null};
let arrived = () => {}, admitted = async (found) => found;

// came: is called whenever entries have come. admits: is given entries before they are shown; returns those to show.
export function onArrival(came, admits) { [arrived, admitted] = [came, admits]; }

const ahead = new IntersectionObserver((seen) => { if (seen.some((each) => each.isIntersecting)) loadMore(); }, {rootMargin: AHEAD + "px"});

const read = () => request("/api/queue?" + page.query + (loading.following ? (page.query ? "&" : "") + "after=" + encodeURIComponent(loading.following) : ""));

// Reads the next page of a survey, and its pictures, while this one is looked at.
export function readAhead() {
  if (loading.ahead || loading.isLoading || loading.hasEnded) return;
  const ahead = loading.ahead = {since: Date.now(), found: read()};
  const preload = ({rows}) => rows.map(entryOf).forEach((entry) => Object.assign(new Image(), {fetchPriority: "low", src: urlOf(entry.main, 240)}));
  ahead.found.then(preload, () => { if (loading.ahead === ahead) loading.ahead = null; });
}

function readNext() {
  const {ahead} = loading;
  loading.ahead = null;
  return ahead && Date.now() - ahead.since < FRESH ? ahead.found : read();
}

export async function loadMore() {
  if (loading.isLoading || loading.hasEnded || "stopped" in page) return;
  loading.isLoading = true;
  try {
    const found = await readNext();
    loading.following = found.after;
    loading.hasEnded = found.after === null;
    append(await admitted(found.rows.map(entryOf)));
    showEnd();
  } catch (error) {
    $("end").textContent = "The queue cannot be read, trying again: " + error.message;
    setTimeout(loadMore, 5000);
    return;
  } finally {
    loading.isLoading = false;
  }
  if (isSurvey() && !entries.length && !loading.hasEnded) { loadMore(); return; }  // others have all of the page
  arrived();
  // Observed anew, it reports again: an end that has stayed in sight would not.
  ahead.unobserve($("end"));
  if (!loading.hasEnded && !isSurvey()) ahead.observe($("end"));
}

function showEnd() {
  const isEmpty = loading.hasEnded && !entries.length;
  $("bulk").hidden = isEmpty;
  $("end").textContent = isEmpty ? "Nothing here to review. " : isSurvey() ? "" : loading.hasEnded ? "End of the queue." : "Loading …";
  if (isEmpty) $("end").append(...waysOn());
}

// Where to go when nothing is left: what is reviewed already, and everything.
export function waysOn() {
  const links = [[address({reviewed: "any"}), "Show what is reviewed"], ["/", "Clear all filters"]];
  return links.flatMap(([href, text], index) => [index ? " · " : "", element("a", text, {href})]);
}

export function append(found) {
  const fragment = document.createDocumentFragment();
  for (const entry of found) {
    if (byId.has(entry.id)) continue;  // its confidence has changed meanwhile
    entry.element = tile(entry);
    byId.set(entry.id, entry);
    entries.push(entry);
    fragment.append(entry.element);
  }
  $("list").append(fragment);
}

// Empties the list: a survey shows one page after the other.
export function clearList() {
  entries.length = 0;
  byId.clear();
  selected.clear();
  at.current = at.alone = at.anchor = null;
  $("list").replaceChildren();
}

// No more entries than those that are there.
export function endHere() {
  loading.hasEnded = true;
  ahead.unobserve($("end"));
  showEnd();
}

export const isAtEnd = () => loading.hasEnded;

function tile(entry) {
  const made = element("li", null, {tabIndex: -1});
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", "false");
  made.dataset.item = entry.id;
  const thumb = element("div", null, {className: "thumb"});
  const image = element("img", null, {alt: "", loading: "lazy", decoding: "async", fetchPriority: "low", src: urlOf(entry.main, 240)});
  image.addEventListener("error", () => { thumb.textContent = "no image"; });
  thumb.append(image);
  const many = entry.images.length > 1 ? element("span", "×" + entry.images.length, {className: "many"}) : "";
  made.append(thumb, many, element("span", null, {className: "tick", ariaHidden: "true"}), element("span", null, {className: "says"}), element("span", null, {className: "word"}));
  paint(entry, made);
  return made;
}

export function paint(entry, made = entry.element) {
  const word = heldOf(entry), [label, share] = entry.answers[0], isChosen = selected.has(entry);
  made.querySelector(".says").textContent = visible(label) + " " + percent(share);
  const old = entry.main.word && entry.main.word.outdated ? "changed since " + visible(entry.main.word.by) : "";
  const text = hasConflict(entry) ? "conflict" : word ? "✓ " + wordText(word.verdict, word.label) : entry.holder ? "with " + visible(entry.holder) : isSurvey() && isChosen ? "wrong" : old;
  made.querySelector(".word").textContent = text;
  made.querySelector(".tick").textContent = isChosen ? (isSurvey() ? "✕" : "✓") : "";
  made.classList.toggle("done", Boolean(word) && !hasConflict(entry));
  made.classList.toggle("conflict", hasConflict(entry));
  made.classList.toggle("skipped", Boolean(entry.skipped) && !word);
  made.classList.toggle("taken", Boolean(entry.holder) && !word);
  made.classList.toggle("current", entry === at.current);
  made.setAttribute("aria-selected", String(isChosen));
  made.setAttribute("aria-label", [entry.name, visible(label), percent(share), text].filter(Boolean).join(", "));
}

export const nextOpen = (entry) => entries.slice(entries.indexOf(entry) + 1).find((each) => !isDone(each) && !hasConflict(each) && !each.skipped && !each.holder);
export const nextFree = (entry, steps = 1) => (steps > 0 ? entries.slice(entries.indexOf(entry) + 1) : entries.slice(0, Math.max(0, entries.indexOf(entry))).reverse()).filter((each) => !each.holder)[Math.abs(steps) - 1];
export const columns = () => getComputedStyle($("list")).gridTemplateColumns.split(" ").length;

// The selection. In a survey it holds what is wrong.

export function select(entry, isSelected) {
  if (isSelected) selected.add(entry); else selected.delete(entry);
  paint(entry);
}

export function toggle(entry, isRange = false) {
  if (isRange && at.anchor) {
    const [first, last] = [entries.indexOf(at.anchor), entries.indexOf(entry)].sort((a, b) => a - b);
    entries.slice(first, last + 1).forEach((each) => select(each, true));
  } else select(entry, !selected.has(entry));
  at.anchor = entry;
  showSelection();
}

export function clearSelection() {
  [...selected].forEach((entry) => select(entry, false));
  showSelection();
}

export function selectAll() {
  entries.forEach((entry) => select(entry, true));
  showSelection();
}

let selectionShown = () => {};

export function onSelection(shown) { selectionShown = shown; }

export function showSelection() {
  const many = selected.size;
  $("selected").textContent = many ? many + " selected: a correction applies to all of them" : "Nothing selected";
  for (const id of ["accept-selected", "set-selected", "not-selected", "clear-selected"]) $(id).hidden = !many;
  selectionShown();
}

export function tell(group) {
  const texts = new Set(group.map(({said}) => wordText(said.verdict, said.label))), names = new Set(group.map(({row}) => row.entry));
  say((names.size > 1 ? names.size + " entries: " : group[0].row.entry.name + ": ") + (texts.size > 1 ? "accepted" : [...texts][0]));
}
