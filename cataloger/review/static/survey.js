// The survey: a page of one predicted category. What is wrong is clicked; the rest is accepted in one go.

import {$, element, page, visible} from "./dom.js";
import {byId, entries, imagesFor, isDone, selected} from "./entries.js";
import {address, loadFacets} from "./filters.js";
import {append, clearList, endHere, isAtEnd, loadMore, onSelection, paint, showSelection} from "./list.js";

const CATEGORIES = 14;
export const marked = [];        // entries that were called wrong, to be reviewed one by one
let record = () => {};

const chosen = () => new URLSearchParams(page.query).get("category");
const rest = () => entries.filter((entry) => !selected.has(entry) && !isDone(entry) && !entry.holder);

// saying: records words, lists of {row, said}, as one step to be undone.
export async function startSurvey(saying) {
  record = saying;
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
  $("accept-rest").firstChild.textContent = !many ? (isAtEnd() ? "Nothing left " : "Next page ") : (wrong ? "Accept the other " : "Accept all ") + many + " as " + visible(chosen() || "") + " ";
  $("to-marked").hidden = !marked.length && !wrong;
  $("to-marked").textContent = "Review the " + (marked.length + wrong) + " marked";
}

export function acceptRest() {
  const said = {verdict: "label", label: chosen()};
  const accepted = rest();
  const words = accepted.flatMap((entry) => imagesFor(entry, said).map((row) => ({row, said})));
  if (words.length) record(words);
  $("sweep-said").textContent = accepted.length + " accepted" + (selected.size ? ", " + selected.size + " set aside to be reviewed" : "") + ".";
  marked.push(...selected);
  clearList();
  showSweep();
  if (isAtEnd()) endHere(); else loadMore();
  scrollTo(0, 0);
}

// What was taken back is shown again, before what is there.
export function showAgain(found) {
  const shown = entries.slice();
  clearList();
  append([...found, ...shown.filter((entry) => !found.includes(entry))]);
  found.forEach((entry) => paint(entry));
  showSelection();
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
