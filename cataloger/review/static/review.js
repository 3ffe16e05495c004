// The page of `cataloger review`: what its keys, buttons and gestures do.

import {firstLabel, isAbstained, loadCategories, noteChoice, onDecision, recentChoice, showAnswers, showExamples, showFacts, watchSearch} from "./answers.js";
import {$, button, complain, element, page, percent, say, visible} from "./dom.js";
import {at, byId, entries, imagesFor, isDone, isSurvey, saidOf, selected, subject} from "./entries.js";
import {watchFilters} from "./filters.js";
import {clearSelection, columns, isAtEnd, loadMore, nextFree, nextOpen, onArrival, paint, readAhead, selectAll, tell, toggle, waysOn} from "./list.js";
import {isLooking, look as lookAt, onLookKey, watchLook} from "./look.js";
import {isWaiting, onChange, put, send, undone} from "./outbox.js";
import {watchPeople} from "./people.js";
import {post, request} from "./requests.js";
import {endZoom, isZoomed, preload, showFilm, showPicture, stepImage, toggleLoupe, toggleMap, toggleZoom, watchStage} from "./stage.js";
import {acceptRest, reviewMarked, showAgain, showSweep, startSurvey} from "./survey.js";
import {admit, claim, onTogether, showPeople, watchTogether} from "./together.js";

const SWIPE = 70, SETTLED = 1000;
let isWaitingForMore = false;

// What is looked at.

// isAsked: it was chosen, so that it stays even when somebody else has it.
function show(entry, {focus = true, scrolls = false, isAsked = false} = {}) {
  const before = at.current;
  entry.isAsked = isAsked;
  at.current = entry;
  at.alone = null;
  at.isLost = false;
  $("over").hidden = true;
  if (before && before.element.isConnected) { before.element.tabIndex = -1; paint(before); }
  entry.element.tabIndex = 0;
  paint(entry);
  if (focus) entry.element.focus({preventScroll: true});
  if (isSurvey()) { if (focus) entry.element.scrollIntoView({block: "nearest"}); return; }
  $("work").hidden = false;
  if (scrolls) scrollTo(0, 0);
  showWork();
  showExamples();
  loadCategories(entry.source);
  const place = entries.indexOf(entry);
  preload(entries.slice(place + 1));
  if (entries.length - place < 20) loadMore();
  claim(entry.isMine ? undefined : 0);
}

function showWork() {
  showPicture();
  showFilm(look);
  showFacts();
  showAnswers();
}

function look(row) {
  at.alone = row;
  showWork();
}

function changed(entry) {
  if (entry.element.isConnected) paint(entry);
  if (entry === at.current && !isSurvey()) { showFilm(look); showAnswers(); }
}

// Somebody else has what is looked at, or has answered it. Who types is not interrupted: the next letters would be keys.
function lost(entry) {
  sayLost(entry);
  if (isSurvey()) return;
  if (isField(document.activeElement)) at.isLost = true;
  else goOn();
}

function sayLost(entry) {
  say(entry.name + ": " + visible(entry.holder || entry.main.word.by) + (entry.holder ? " has it" : " has answered it"));
}

const isField = (node) => node.matches("input, select, textarea");

// What the reviewer says.

const targets = () => (selected.size ? entries.filter((entry) => selected.has(entry)) : at.current ? [at.current] : []);

function decide(verdict, label = null) {
  if (at.isLost && !selected.size) { const entry = at.current; goOn(); sayLost(entry); return; }
  const said = {verdict, label: verdict === "label" ? label : null};
  if (at.current) noteChoice(at.current.source, said.label);
  record(targets().flatMap((entry) => rowsFor(entry, said).map((row) => ({row, said}))));
}

const rowsFor = (entry, said) => (at.alone && !selected.size ? [at.alone] : imagesFor(entry, said));

function accept() {
  if (!selected.size && at.current) { decide("label", firstLabel()); return; }
  record(targets().flatMap((entry) => {
    const said = {verdict: "label", label: entry.answers[0][0]};
    return imagesFor(entry, said).map((row) => ({row, said}));
  }));
}

// What the decision of the model suggests.
function proceed() {
  if (!selected.size && at.current && isAbstained()) decide("not_product"); else accept();
}

function record(all) {
  const words = all.filter(({row}) => !row.entry.holder);
  if (!words.length) {
    if (all.length) say(visible(all[0].row.entry.holder) + " has this one at the moment");
    else if (at.current) say("Each image has an answer of its own: choose one of them to change it");
    return;
  }
  complain("");
  undone.push(words.map(({row, said}) => ({row, before: saidOf(row), said, own: row.isOwn})));
  const wasBulk = selected.size > 1, wasAlone = at.alone;
  if (wasAlone && !selected.size) wasAlone.isOwn = true;
  for (const {row, said} of words) put(row, said);
  send();
  tell(undone[undone.length - 1]);
  claim();
  if (isSurvey()) return;
  clearSelection();
  if (wasAlone && at.current && !isDone(at.current)) look(null);
  else if (wasBulk) show(nextOpen(words[words.length - 1].row.entry) || at.current);
  else goOn();
}

function undo() {
  const last = undone.pop();
  if (!last) { $("said").textContent = "Nothing to undo"; return; }
  for (const {row, before, own} of last) { row.isOwn = own; put(row, before); }
  send();
  const found = [...new Set(last.map(({row}) => row.entry))];
  $("said").textContent = (found.length > 1 ? found.length + " entries" : found[0].name) + ": undone";
  if (isSurvey()) showAgain(last, found); else show(found[0], {isAsked: true});
}

function goOn() {
  const next = nextOpen(at.current) || (holdsOpenOnly ? null : nextFree(at.current));
  isWaitingForMore = !next;
  if (next) { show(next); return; }
  look(null);
  at.current.element.focus({preventScroll: true});
  if (isAtEnd()) showOver(); else loadMore();
}

// A queue of what is not reviewed yet ends with the last open one; any other one goes on to what comes next.
const holdsOpenOnly = (new URLSearchParams(page.query).get("reviewed") || "no") === "no";

// Nothing comes after this one: says so, and what is left.
function showOver() {
  const left = entries.filter((entry) => !isDone(entry) && !entry.holder);
  $("over").replaceChildren(element("b", left.length ? "This was the last one. " : "This queue is done. "));
  if (left.length) $("over").append(button("Go through the " + left.length + " left", () => {
    left.forEach((entry) => { entry.skipped = false; });
    show(left[0]);
  }), " ");
  else $("over").append(...waysOn());
  $("over").hidden = false;
  say($("over").textContent);
}

function skip() {
  if (!at.current) return;
  at.current.skipped = true;
  const next = nextFree(at.current);
  isWaitingForMore = !next;
  if (next) { show(next); return; }
  paint(at.current);
  if (isAtEnd()) showOver(); else loadMore();
}

function move(steps) {
  const entry = nextFree(at.current, steps);
  if (entry) show(entry);
}

function step(direction) {
  if (!isSurvey() && at.current.images.length > 1) stepImage(direction, look);
  else move(direction * columns());
}

function escape() {
  if (isZoomed()) endZoom();
  else if (at.alone) look(null);
  else clearSelection();
}

function swiped(dx, dy) {
  if (isSurvey() || Math.abs(dx) < SWIPE || Math.abs(dx) < 2 * Math.abs(dy)) return;
  if (dx > 0) proceed(); else skip();
}

function jump() {
  const isAbove = scrollY < $("queue").offsetTop - innerHeight / 2;
  scrollTo(0, isAbove ? $("queue").offsetTop : 0);
}

// Progress.

let progressTimer = null, adaptingTimer = null;

function planProgress(delay = 700) {
  clearTimeout(progressTimer);
  progressTimer = setTimeout(showProgress, delay);
}

async function showProgress() {
  if ("stopped" in page) return;
  if ("forAdapting" in page) showAdapting();
  try {
    const now = await request("/api/progress?" + page.query);
    $("bar").value = now.images ? now.reviewed / now.images : 0;
    const agreement = (agreed, named, whom) => (named ? " with " + whom + " on " + percent(agreed / named) + " of " + named.toLocaleString() : "");
    const all = now.named ? "; the model agrees" + agreement(now.agreed, now.named, now.my_named === now.named ? "you" : "people") : "";
    const mine = now.my_named && now.my_named !== now.named ? "," + agreement(now.my_agreed, now.my_named, "you") : "";
    $("progress").textContent = now.reviewed.toLocaleString() + " of " + now.images.toLocaleString() + " reviewed, " + now.my_reviewed.toLocaleString() + " by you" + (now.second ? ", " + now.second.toLocaleString() + " for a second answer by you" : "") + all + mine;
  } catch (error) {
    $("progress").textContent = "Progress cannot be read: " + error.message;
  }
  planProgress(30000);
}

// What the labels are worth for `cataloger adapt`: measured by the server after each twenty, while the page goes on.

async function showAdapting() {
  clearTimeout(adaptingTimer);
  let now;
  try {
    now = await request("/api/adapting");
  } catch (error) {
    $("adapting").textContent = "What the labels are worth cannot be read: " + error.message;
    return;
  }
  const said = now.lines.join("\n");
  if ($("adapting").textContent !== said) $("adapting").textContent = said;
  if (now.is_measuring) adaptingTimer = setTimeout(showAdapting, 1000);
}

// Who, keys, clicks.

function askName() {
  $("name-input").value = "asksName" in page ? "" : at.author;
  $("name").showModal();
  $("name-input").select();
}

async function saveName() {
  try {
    at.author = (await post("/api/name", {name: $("name-input").value})).author;
    $("who").textContent = visible(at.author);
    delete page.asksName;
    planProgress(0);
  } catch (error) {
    complain("The name was not saved: " + error.message);
  }
}

const KEYS = {
  Enter: () => (isSurvey() ? acceptRest() : proceed()), a: accept, n: () => decide("not_product"), s: skip, u: undo, g: jump,
  ArrowRight: () => move(1), ArrowLeft: () => move(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
  " ": () => toggle(at.current), x: () => toggle(at.current), Escape: escape,
  m: toggleMap, z: () => (isSurvey() ? lookAt(show, false) : toggleZoom()), l: () => (isSurvey() ? lookAt(show, true) : toggleLoupe()), "/": () => $("search").focus(), f: () => $("filter").focus(), "?": () => $("keys").showModal(),
};
const OF_SURVEY = new Set(["Enter", "u", "ArrowRight", "ArrowLeft", "ArrowDown", "ArrowUp", " ", "x", "z", "l", "Escape", "f", "?"]);
const WITHOUT_ENTRY = new Set(["?", "f", "u", "Enter"]);

function onKey(event) {
  if (event.isComposing || event.altKey || event.metaKey) return;
  if (isLooking()) { onLookKey(event, move); return; }
  if (document.querySelector("dialog[open]")) return;
  const target = event.target;
  if (isField(target) || (target.matches("button, a, summary") && ["Enter", " "].includes(event.key))) return;
  if (event.ctrlKey) {
    if (event.key.toLowerCase() !== "a" || isSurvey()) return;
    selectAll();
  } else if (/^[1-9]$/.test(event.key) && !isSurvey()) choose(Number(event.key), event.repeat);
  else if (!act(event.key.length === 1 ? event.key.toLowerCase() : event.key, event.repeat)) return;
  event.preventDefault();
}

function choose(number, isRepeated) {
  if (isRepeated || !at.current) return;
  const answer = subject().answers[number - 1], recent = recentChoice(number - 6);
  if (number <= 5 && answer) decide("label", answer[0]);
  else if (number > 5 && recent) recent.click();
}

// Does what a key means; a key that is kept down counts once.
function act(key, isRepeated) {
  const does = KEYS[key];
  if (!does || (isSurvey() && !OF_SURVEY.has(key)) || (!at.current && !(WITHOUT_ENTRY.has(key) && (isSurvey() || key !== "Enter")))) return false;
  if (!isRepeated || key.startsWith("Arrow")) does();
  return true;
}

function onListClick(event) {
  const element = event.target.closest("li");
  const entry = element && byId.get(Number(element.dataset.item));
  if (!entry) return;
  const isTick = event.target.matches(".tick") || event.shiftKey || event.ctrlKey || event.metaKey;
  if (isTick || isSurvey()) toggle(entry, event.shiftKey);
  else at.anchor = entry;
  show(entry, {scrolls: !isTick && !isSurvey(), isAsked: true});
}

function watch() {
  document.addEventListener("keydown", onKey);
  document.addEventListener("focusout", () => setTimeout(() => { if (at.isLost && !isField(document.activeElement)) goOn(); }));
  $("list").addEventListener("click", onListClick);
  $("list").addEventListener("mousedown", (event) => { if (event.shiftKey) event.preventDefault(); });
  const actions = {
    accept, "not-product": () => decide("not_product"), skip, undo, map: toggleMap, zoom: () => toggleZoom(), loupe: toggleLoupe, help: () => $("keys").showModal(), who: askName,
    "select-all": selectAll, "accept-selected": accept, "not-selected": () => decide("not_product"), "set-selected": () => $("search").focus(), "clear-selected": clearSelection,
    "accept-rest": acceptRest, "undo-sweep": undo, "to-marked": () => reviewMarked(show),
  };
  for (const [id, does] of Object.entries(actions)) $(id).addEventListener("click", does);
  $("name").querySelector("form").addEventListener("submit", saveName);
  $("name").addEventListener("cancel", (event) => { if ("asksName" in page) event.preventDefault(); });
  // Otherwise the button that opened it would take the keys.
  for (const id of ["name", "keys", "saved-views", "team", "look"]) $(id).addEventListener("close", () => { if (at.current) at.current.element.focus({preventScroll: true}); });
  window.addEventListener("beforeunload", (event) => { if (isWaiting()) event.preventDefault(); });
}

// The first entry that nobody else has, where none is looked at.
function showFirst() {
  if (!at.current && entries.length) show(entries.find((entry) => !entry.holder) || entries[0], {focus: document.activeElement === document.body});
}

function start() {
  watch();
  watchSearch();
  watchFilters();
  watchStage(swiped);
  watchLook(() => { if (isSurvey()) lookAt(show, false); });
  watchPeople();
  watchTogether();
  onDecision(decide);
  onChange(changed, () => { planProgress(); claim(); });
  onTogether(changed, lost, showPeople);
  onArrival(() => {
    showFirst();
    if (isWaitingForMore && at.current) { if (isAtEnd() || nextOpen(at.current)) goOn(); }
    if (isSurvey()) { showSweep(); claim(); setTimeout(readAhead, SETTLED); }
  }, admit);
  if (isSurvey() && !("stopped" in page)) startSurvey(record, showFirst); else loadMore();
  showProgress();
  if ("asksName" in page) askName();
}

start();
