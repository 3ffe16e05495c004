// The survey: a page of one predicted category. What is wrong is clicked; the rest is accepted in one go.

import {$, element, page, visible} from "./dom.js";
import {byId, entries, imagesFor, isDone, selected} from "./entries.js";
import {address, loadFacets} from "./filters.js";
import {append, clearList, endHere, isAtEnd, loadMore, onSelection, select, showSelection} from "./list.js";
import {undone} from "./outbox.js";

const CATEGORIES = 14;
export const marked = [];        // entries that were called wrong, to be reviewed one by one
const swept = [];                // pages that were accepted, with what was recorded of each: {entries, wrong, group}
const later = [];                // pages that were there when an earlier one was taken back: {entries, wrong}
let record = () => {}, arrived = () => {};

const chosen = () => new URLSearchParams(page.query).get("category");
const rest = () => entries.filter((entry) => !selected.has(entry) && !isDone(entry) && !entry.holder);

// saying: records words, lists of {row, said}, as one step to be undone. shown: is called when a page is there again.
export async function startSurvey(saying, shown) {
  [record, arrived] = [saying, shown];
  $("sweep").hidden = $("categories").hidden = false;
  onSelection(showSweep);
  const {category = []} = await loadFacets();
  if (!chosen() && category.length) { location.replace(address({view: "survey", category: category[0][0]})); return; }
  $("categories").replaceChildren(...category.slice(0, CATEGORIES).map(([label, count]) => {
    const made = element("a", null, {href: address({view: "survey", category: label})});
    made.append(visible(label) + " ", element("span", count.toLocaleString(), {className: "count"}));
    if (label === chosen()) made.setAttribute("aria-current", "true");
    return made;
  }));
  loadMore();
}

export function showSweep() {
  const many = rest().length, wrong = selected.size;
  $("accept-rest").firstChild.textContent = !many ? (isAtEnd() && !later.length ? "Nothing left " : "Next page ") : (wrong ? "Accept the other " : "Accept all ") + many + " as " + visible(chosen() || "") + " ";
  $("to-marked").hidden = !marked.length && !wrong;
  $("to-marked").textContent = "Review the " + (marked.length + wrong) + " marked";
}

export function acceptRest() {
  const said = {verdict: "label", label: chosen()};
  const accepted = rest();
  const words = accepted.flatMap((entry) => imagesFor(entry, said).map((row) => ({row, said})));
  const now = pageNow();
  if (words.length) {
    record(words);
    swept.push({...now, group: undone[undone.length - 1]});
  }
  $("sweep-said").textContent = accepted.length + " accepted" + (selected.size ? ", " + selected.size + " set aside to be reviewed" : "") + ".";
  marked.push(...selected);
  const next = later.pop();
  if (next) {
    showPage(next);
    return;
  }
  clearList();
  showSweep();
  if (isAtEnd()) endHere(); else loadMore();
  scrollTo(0, 0);
}

const pageNow = () => ({entries: entries.slice(), wrong: [...selected]});

function showPage(page) {
  clearList();
  append(page.entries);
  page.wrong.forEach((entry) => select(entry, true));
  showSelection();
  arrived();
  scrollTo(0, 0);
}

// The page of which something was taken back, as it was, with what was marked in it. What was there comes after it.
export function showAgain(group, found) {
  const page = swept.find((each) => each.group === group) || {entries: found, wrong: []};
  if (entries.length) later.push(pageNow());
  const others = marked.filter((entry) => !page.wrong.includes(entry));
  marked.splice(0, marked.length, ...others);
  showPage(page);
  $("sweep-said").textContent = found.length + " taken back.";
}

// Leaves the survey for the entries that were marked: they are reviewed like any queue.
export function reviewMarked(shown) {
  const found = [...marked, ...selected];
  marked.length = 0;
  clearList();
  document.body.classList.replace("survey", "queue");
  $("sweep").hidden = $("categories").hidden = true;
  append(found);
  endHere();
  if (found.length) shown(byId.get(found[0].id));
}
