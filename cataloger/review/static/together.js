// Who has what. This page says again and again which entries it wants, a few ahead of the one that is looked at, and
// learns what others have. Without an answer it goes on: a correction that came second is shown as a conflict.

import {$, namesOf, page, personKey, visible} from "./dom.js";
import {at, entries, isDone, isSurvey, sameWord} from "./entries.js";
import {waitingEntries} from "./outbox.js";
import {post, postLast} from "./requests.js";
import {marked} from "./survey.js";

const AHEAD = 3, MOST = 200, BEAT = 15000, IDLE = 10 * 60000, SOON = 250;
const others = new Map();        // the item of an entry -> who has it
let isAsking = false, isDue = false, timer = null, lastInput = Date.now();
let changed = () => {}, lost = () => {}, seen = () => {};

// entryChanged: is called with each entry about which something new is known; currentLost: when somebody else has the
// entry that is looked at; peopleSeen: with who is there.
export function onTogether(entryChanged, currentLost, peopleSeen) { [changed, lost, seen] = [entryChanged, currentLost, peopleSeen]; }

function windowName() {
  const make = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(36)).join("-");
  try {
    if (!sessionStorage.getItem("cataloger-page")) sessionStorage.setItem("cataloger-page", make());
    return sessionStorage.getItem("cataloger-page");
  } catch { return make(); }
}

const name = windowName();

const isFree = (entry) => !entry.holder;
const isOpen = (entry) => isFree(entry) && !isDone(entry);

// What this page wants: what is looked at and what comes next; in a survey all that is shown or set
// aside; and what is not saved yet.
function wanted(list) {
  const from = at.current && !isSurvey() ? list.indexOf(at.current) + 1 : 0;
  const next = list.slice(from).filter((entry) => isOpen(entry) && !entry.skipped).slice(0, isSurvey() ? MOST : AHEAD);
  const current = at.current && !isSurvey() ? [at.current] : [];
  return [...new Set([...current, ...waitingEntries(), ...(isSurvey() ? marked : []), ...next])].slice(0, MOST);
}

async function ask(list) {
  const wish = wanted(list), isIdle = Date.now() - lastInput > IDLE;
  const items = isIdle ? [] : wish.map((entry) => entry.id);
  const images = isSurvey() || isIdle ? [] : wish.flatMap((entry) => entry.images.map((row) => row.item)).slice(0, 500);
  const opened = at.current && !isSurvey() && !isIdle ? at.current.id : null;
  const found = await post("/api/claims", {page: name, items, open: opened, images});
  others.clear();
  for (const [item, person] of [...found.others, ...found.taken]) others.set(item, person);
  const corrections = new Map(found.corrections), mine = new Set(items);
  for (const entry of list) take(entry, corrections, mine);
  seen(found.people);
}

function take(entry, corrections, mine) {
  const holder = others.get(entry.id), wasOpen = !isDone(entry), before = entry.holder;
  entry.holder = holder;
  entry.isMine = mine.has(entry.id) && !holder;
  let isNew = false;
  for (const row of entry.images) {
    const word = corrections.get(row.item);
    if (word === undefined || "pending" in row || (sameWord(word, row.word) && (!word || word.id === row.word.id))) continue;
    row.word = word;
    isNew = true;
  }
  if (!entry.element || (!isNew && before === holder)) return;
  changed(entry);
  if (entry === at.current && ((holder && !entry.isAsked) || (isNew && wasOpen && isDone(entry)))) lost(entry);
}

// Before the entries of a page of the queue are shown: of a survey only what nobody else has; else until one is ours.
export async function admit(found) {
  for (const entry of found) entry.holder = others.get(entry.id);
  if (at.current && !isSurvey()) return found;
  try {
    const list = isSurvey() ? found : [...entries, ...found];
    do await ask(list); while (!isSurvey() && list.some(isOpen) && !list.some((entry) => entry.isMine && isOpen(entry)));
  } catch { /* it is asked again */ }
  return isSurvey() ? found.filter(isFree) : found;
}

// Says what is wanted now, soon: several entries in a row are said at once.
export function claim(delay = SOON) {
  if ("stopped" in page) return;
  clearTimeout(timer);
  timer = setTimeout(declare, delay);
}

async function declare() {
  if (isAsking) { isDue = true; return; }
  isAsking = true;
  isDue = false;
  try { await ask(entries); } catch { /* it is asked again */ }
  isAsking = false;
  claim(isDue ? 0 : BEAT);
}

export function showPeople(people) {
  const rest = people.filter((each) => !each.is_me && personKey(each.person) !== personKey(at.author));
  const names = namesOf(rest.map(({person}) => person));
  $("people").textContent = !names.length ? "People" : names.length < 3 ? "with " + names.map(visible).join(", ") : "with " + names.length + " others";
}

export function watchTogether() {
  for (const kind of ["keydown", "pointerdown"]) document.addEventListener(kind, () => {
    const wasIdle = Date.now() - lastInput > IDLE;
    lastInput = Date.now();
    if (wasIdle) claim(0);
  }, {capture: true});
  // What a page has that ends is free at once; one that comes back from the history of the browser asks for it again.
  addEventListener("pagehide", () => { if (!("stopped" in page)) postLast("/api/claims", {page: name, items: [], open: null, images: []}); });
  addEventListener("pageshow", (event) => { if (event.persisted) claim(0); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) claim(0); });
}
