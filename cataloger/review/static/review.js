"use strict";
// The page keeps what a reviewer says in an outbox until the server has answered. The answer rules: a word that came
// second is shown as a conflict and changes nothing. Text of the catalog reaches the page as textContent alone.

const $ = (id) => document.getElementById(id);
const BATCH = 200, PATIENCE = 20000, LONGEST_PAUSE = 15000, SHOWN_LABELS = 30, AHEAD = 4000, NEXT_PICTURES = 3;

const page = document.body.dataset;
const rows = [];                 // in the order of the queue; a row is what /api/queue gives, and its element
const byItem = new Map();
const selected = new Set();      // rows
const outbox = [];               // {row, verdict, label}: said, and not answered yet
const undone = [];               // what I said, last one last: lists of {row, before, said}
const labels = new Map();        // source -> its categories
let csrf = page.csrf, author = page.author, current = null, anchor = null, following = null;
let isLoading = false, hasEnded = false, isSending = false, failures = 0, batchSize = BATCH, shownMap = 0, pictureTurn = 0, finds = [], picked = -1;
let picksOnArrival = false;      // Enter was pressed before the categories had arrived

const visible = (text) => String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
const percent = (share) => (100 * share).toFixed(share < 0.1 ? 1 : 0) + "%";
const wordText = (verdict, label) => (verdict === "label" ? visible(label) : "not a product");
const sameWord = (a, b) => (a ? a.verdict : null) === (b ? b.verdict : null) && (a ? a.label : null) === (b ? b.label : null);

function element(tag, text, properties) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  return Object.assign(made, properties);
}

function say(text) { $("said").textContent = text; }

function complain(text) { $("problem").textContent = text; $("problem").hidden = !text; }

// Requests. An answer that is no success throws an error with its status; no answer at all has status 0.

async function request(path, options = {}) {
  let answer, text;
  try {
    answer = await fetch(path, {...options, credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE)});
    text = await answer.text();
  } catch (cause) {
    throw Object.assign(new Error("the server does not answer; is `cataloger review` still running?"), {status: 0, cause});
  }
  if (!answer.ok) throw Object.assign(new Error(visible(text)), {status: answer.status});
  return JSON.parse(text);
}

async function post(path, values) {
  const send = () => request(path, {method: "POST", body: JSON.stringify(values), headers: {"X-CSRF-Token": csrf, "Content-Type": "application/json"}});
  try {
    return await send();
  } catch (error) {
    if (error.status !== 403) throw error;
    csrf = (await request("/api/session")).csrf;  // the server was restarted
    return send();
  }
}

// The list.

const isNarrow = matchMedia("(max-width: 52rem)");  // as in review.css

const ahead = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) loadMore(); }, {rootMargin: AHEAD + "px"});

async function loadMore() {
  if (isLoading || hasEnded || "stopped" in page) return;
  isLoading = true;
  try {
    const query = page.query + (following ? (page.query ? "&" : "") + "after=" + encodeURIComponent(following) : "");
    const found = await request("/api/queue?" + query);
    following = found.after;
    hasEnded = following === null;
    append(found.rows);
    $("end").textContent = hasEnded ? (rows.length ? "End of the queue." : "Nothing here to review.") : "Loading …";
  } catch (error) {
    $("end").textContent = "The queue cannot be read, trying again: " + error.message;
    setTimeout(loadMore, 5000);
    return;
  } finally {
    isLoading = false;
  }
  if (!current && rows.length) show(rows[0], {focus: document.activeElement === document.body});
  // Observed anew, it reports again: an end that has stayed in sight would not.
  ahead.unobserve($("end"));
  if (!hasEnded) ahead.observe($("end"));
}

function append(found) {
  const fragment = document.createDocumentFragment();
  for (const row of found) {
    if (byItem.has(row.item)) continue;  // its confidence has changed meanwhile
    row.element = tile(row);
    byItem.set(row.item, row);
    rows.push(row);
    fragment.append(row.element);
  }
  $("list").append(fragment);
}

function tile(row) {
  const made = element("li", null, {tabIndex: -1});
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", "false");
  made.dataset.item = row.item;
  const thumb = element("div", null, {className: "thumb"});
  const image = element("img", null, {alt: "", loading: "lazy", decoding: "async", fetchPriority: "low", src: "/image/" + row.item + "/240.jpg?" + row.result});
  image.addEventListener("error", () => { thumb.textContent = "no image"; });
  thumb.append(image);
  made.append(thumb, element("span", null, {className: "tick", ariaHidden: "true"}), element("span", null, {className: "says"}), element("span", null, {className: "word"}));
  paint(row, made);
  return made;
}

// What was said of a row and is not answered yet, else the word of the ledger; and the same, if it fits the bytes.
const saidOf = (row) => ("pending" in row ? row.pending : row.word);
const held = (row) => (saidOf(row) && !saidOf(row).outdated ? saidOf(row) : null);

function paint(row, made = row.element) {
  const word = held(row), [label, share] = row.answers[0];
  made.querySelector(".says").textContent = visible(label) + " " + percent(share);
  const outdated = row.word && row.word.outdated ? "changed since " + visible(row.word.by) : "";
  const text = row.conflict ? "conflict" : word ? "✓ " + wordText(word.verdict, word.label) : outdated;
  made.querySelector(".word").textContent = text;
  made.querySelector(".tick").textContent = selected.has(row) ? "✓" : "";
  made.classList.toggle("done", Boolean(word) && !row.conflict);
  made.classList.toggle("conflict", Boolean(row.conflict));
  made.classList.toggle("skipped", Boolean(row.skipped) && !word);
  made.classList.toggle("current", row === current);
  made.setAttribute("aria-selected", String(selected.has(row)));
  made.setAttribute("aria-label", [visible(row.key_text), visible(label), percent(share), text].filter(Boolean).join(", "));
}

// The image that is looked at.

function show(row, {focus = true} = {}) {
  const before = current;
  current = row;
  if (before) { before.element.tabIndex = -1; paint(before); }
  $("work").hidden = !row;
  if (!row) return;
  row.element.tabIndex = 0;
  paint(row);
  if (focus) row.element.focus({preventScroll: true});
  if (before && isNarrow.matches) $("work").scrollIntoView({block: "start"});
  else if (before || !isNarrow.matches) row.element.scrollIntoView({block: "nearest"});
  $("key").textContent = visible(row.key_text);
  $("about").textContent = [row.product !== null && "product " + visible(row.product_text), row.decision, "run " + row.run, "manySources" in page && visible(row.source_name)].filter(Boolean).join(" · ");
  showMap(0);
  showAnswers();
  loadLabels(row.source);
  const place = rows.indexOf(row);
  for (const next of rows.slice(place + 1, place + 1 + NEXT_PICTURES)) Object.assign(new Image(), {fetchPriority: "high", src: pictureOf(next)});
  if (rows.length - place < 20) loadMore();
}

const pictureOf = (row) => "/image/" + row.item + "/900.jpg?" + row.result;

function showAnswers() {
  const row = current, word = held(row);
  $("answers").replaceChildren(...row.answers.map(([label, share], index) => {
    const button = element("button", null, {type: "button", className: word && word.label === label ? "said" : ""});
    button.style.setProperty("--share", 100 * share + "%");
    button.append(element("kbd", index + 1), element("span", visible(label)), element("span", percent(share), {className: "share"}));
    button.addEventListener("click", () => decide("label", label));
    for (const kind of ["pointerenter", "focus"]) button.addEventListener(kind, (event) => { if (event.pointerType !== "touch") showMap(index + 1); });
    for (const kind of ["pointerleave", "blur"]) button.addEventListener(kind, (event) => { if (event.pointerType !== "touch") showMap(0); });
    const item = element("li");
    item.append(button);
    return item;
  }));
  const by = word && row.word && !("pending" in row) ? " (" + visible(row.word.by) + ")" : "";
  const outdated = row.word && row.word.outdated && !("pending" in row) ? visible(row.word.by) + " chose " + wordText(row.word.verdict, row.word.label) + ", but the image has changed since." : "";
  $("state").textContent = word ? "Reviewed: " + wordText(word.verdict, word.label) + by : outdated;
}

function showMap(rank) {
  shownMap = rank;
  const row = current, turn = ++pictureTurn, image = $("picture");
  const url = rank ? "/map/" + row.item + "/" + rank + ".png?" + row.result : pictureOf(row);
  $("map").setAttribute("aria-pressed", String(rank > 0));
  image.alt = rank ? "Areas that speak for " + visible(row.answers[rank - 1][0]) : "The image " + visible(row.key_text);
  image.onload = () => { image.hidden = false; $("no-picture").hidden = true; };
  image.onerror = async () => {
    let reason = "The image cannot be shown.";
    try { await request(url); } catch (error) { reason = error.message; }
    if (turn !== pictureTurn) return;
    $("no-picture").textContent = (rank ? "No map: " : "No image: ") + reason;
    image.hidden = true;
    $("no-picture").hidden = false;
  };
  image.src = url;
}

// What the reviewer says.

const targets = () => (selected.size ? rows.filter((row) => selected.has(row)) : current ? [current] : []);

function decide(verdict, label) {
  const chosen = targets();
  if (!chosen.length) return;
  record(chosen.map((row) => ({row, said: {verdict, label: verdict === "label" ? label : null}})));
}

function accept() { record(targets().map((row) => ({row, said: {verdict: "label", label: row.answers[0][0]}}))); }

function record(words) {
  if (!words.length) return;
  complain("");
  undone.push(words.map(({row, said}) => ({row, before: saidOf(row), said})));
  const wasBulk = selected.size > 0;
  for (const {row, said} of words) put(row, said);
  send();
  clearSelection();
  const texts = new Set(words.map(({said}) => wordText(said.verdict, said.label)));
  say((words.length > 1 ? words.length + " images: " : visible(words[0].row.key_text) + ": ") + (texts.size > 1 ? "accepted" : [...texts][0]));
  if (wasBulk && words.length > 1) show(nextOpen(words[words.length - 1].row) || current);
  else goOn();
}

// A null word takes back. A word that has not been sent yet gives way to the later one.
function put(row, word) {
  delete row.conflict;
  const waiting = outbox.findIndex((each) => each.row === row && !each.isSent);
  if (waiting >= 0) outbox.splice(waiting, 1);
  row.pending = word;
  const isOutdated = Boolean(word && word.outdated);  // undone back to it, the correction still is not about these bytes
  const isAsSent = outbox.some((each) => each.row === row);
  const isNews = isAsSent || (word ? !sameWord(word, row.word) || row.word.outdated !== isOutdated || row.word.by !== author : row.word !== null);
  if (isNews) outbox.push({row, verdict: word ? word.verdict : "withdrawn", label: word ? word.label : null, result: isOutdated ? word.result : row.result, isOutdated, isSent: false});
  else delete row.pending;
  paint(row);
}

function send() {
  showConflicts();
  flush();
}

function undo() {
  const last = undone.pop();
  if (!last) { say("Nothing to undo"); return; }
  for (const {row, before} of last) put(row, before);
  send();
  say(last.length > 1 ? last.length + " images: undone" : visible(last[0].row.key_text) + ": undone");
  show(last[0].row);
}

const nextOpen = (row) => rows.slice(rows.indexOf(row) + 1).find((each) => !held(each) && !each.conflict && !each.skipped);

function goOn() {
  const next = nextOpen(current) || rows[rows.indexOf(current) + 1];
  if (next) show(next);
  else { showAnswers(); current.element.focus({preventScroll: true}); loadMore(); }
}

function skip() {
  if (!current) return;
  current.skipped = true;
  const next = rows[rows.indexOf(current) + 1];
  if (next) show(next); else loadMore();
}

function move(steps) {
  const index = rows.indexOf(current) + steps;
  if (rows[index]) show(rows[index]);
}

const columns = () => getComputedStyle($("list")).gridTemplateColumns.split(" ").length;

// The outbox: one request at a time, one correction per image in each, so that every correction knows which one it follows.

async function flush() {
  if (isSending) return;
  isSending = true;
  while (outbox.length) {
    const batch = new Map();
    for (const each of outbox) if (batch.size < batchSize && !batch.has(each.row)) batch.set(each.row, each);
    const sent = [...batch.values()];
    sent.forEach((each) => { each.isSent = true; });
    showSaving();
    try {
      await deliver(sent);
      failures = 0;
      batchSize = Math.min(BATCH, 2 * batchSize);
    } catch (error) {
      if (error.status === 400 || error.status === 413) refuse(sent, error);
      else await wait(error);
    }
  }
  isSending = false;
  showSaving();
  planProgress();
}

async function deliver(sent) {
  const words = sent.map(({row, verdict, label, result}) => ({item: row.item, verdict, label, expected: row.word ? row.word.id : null, result}));
  const {outcomes} = await post("/api/words", {words});
  const answers = new Map(outcomes.map((outcome) => [outcome.item, outcome]));
  for (const each of sent) settle(each, answers.get(each.row.item));
  showConflicts();
}

function settle(sent, outcome) {
  const row = sent.row;
  remove((each) => each === sent);
  const holds = outcome.id === null ? null : {...outcome, result: sent.result, outdated: outcome.status === "saved" && sent.isOutdated};
  if (outcome.status === "saved") row.word = holds;
  else {
    remove((each) => each.row === row);  // what I said after it followed a word that does not hold
    forget(row);
    row.word = holds;
    row.conflict = {verdict: sent.verdict, label: sent.label, isGone: outcome.status === "gone"};
  }
  if (!outbox.some((each) => each.row === row)) delete row.pending;
  paint(row);
  if (row === current) showAnswers();
}

function remove(isMeant) {
  for (let index = outbox.length - 1; index >= 0; index--) if (isMeant(outbox[index])) outbox.splice(index, 1);
}

function forget(row) {
  for (const group of undone) {
    const index = group.findIndex((each) => each.row === row);
    if (index >= 0) group.splice(index, 1);
  }
  for (let index = undone.length - 1; index >= 0; index--) if (!undone[index].length) undone.splice(index, 1);
}

function refuse(sent, error) {
  if (sent.length > 1) {  // one of them is wrong; smaller batches find out which
    batchSize = Math.ceil(sent.length / 2);
    return;
  }
  const row = sent[0].row;
  remove((each) => each.row === row);
  forget(row);
  delete row.pending;
  paint(row);
  complain(visible(row.key_text) + " was not saved: " + error.message);
}

async function wait(error) {
  failures++;
  showSaving(error.message);
  await new Promise((done) => setTimeout(done, Math.min(LONGEST_PAUSE, 1000 * 2 ** (failures - 1))));
}

function showSaving(reason) {
  const many = outbox.length === 1 ? "1 correction is" : outbox.length + " corrections are";
  $("saving").classList.toggle("waiting", Boolean(reason));
  $("saving").textContent = !outbox.length ? "" : reason ? many + " not saved yet, trying again: " + reason : failures ? $("saving").textContent : "saving …";
}

function showConflicts() {
  const conflicting = rows.filter((row) => row.conflict);
  $("conflicts").hidden = !conflicting.length;
  const focused = $("conflicts").contains(document.activeElement);
  $("conflicts").replaceChildren(...conflicting.map(conflictLine));
  if (conflicting.length && !focused) say("Conflicts with other reviewers: " + conflicting.length + " images");
}

function conflictLine(row) {
  const line = element("div"), mine = row.conflict, theirs = row.word;
  const wanted = mine.verdict === "withdrawn" ? "withdrew it" : "chose " + wordText(mine.verdict, mine.label);
  const stands = mine.isGone ? "the image was removed from the ledger" : theirs ? visible(theirs.by) + " chose " + wordText(theirs.verdict, theirs.label) : "somebody has withdrawn the correction";
  const keep = element("button", mine.isGone ? "OK" : "Keep theirs", {type: "button"});
  keep.addEventListener("click", () => { delete row.conflict; paint(row); showConflicts(); planProgress(); });
  const look = element("button", "Show", {type: "button"});
  look.addEventListener("click", () => show(row));
  line.append(element("img", null, {alt: "", src: "/image/" + row.item + "/240.jpg?" + row.result}), element("p", visible(row.key_text) + ": " + stands + "; you " + wanted + ". Their correction is kept."), look, keep);
  if (!mine.isGone) {
    const insist = element("button", "Use mine", {type: "button"});
    insist.addEventListener("click", () => {
      const said = mine.verdict === "withdrawn" ? null : {verdict: mine.verdict, label: mine.label};
      undone.push([{row, before: row.word, said}]);
      put(row, said);
      send();
    });
    line.append(insist);
  }
  return line;
}

// Progress.

let progressTimer = null;

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
    const agreement = (agreed, named, whom) => (named ? "; the model agrees with " + whom + " on " + percent(agreed / named) + " of " + named.toLocaleString() : "");
    const all = agreement(now.agreed, now.named, now.my_named === now.named ? "you" : "people");
    const mine = now.my_named && now.my_named !== now.named ? agreement(now.my_agreed, now.my_named, "you") : "";
    $("progress").textContent = now.reviewed.toLocaleString() + " of " + now.images.toLocaleString() + " reviewed, " + now.my_reviewed.toLocaleString() + " by you" + all + mine;
  } catch (error) {
    $("progress").textContent = "Progress cannot be read: " + error.message;
  }
  planProgress(30000);
}

// What the labels are worth for `cataloger adapt`: measured by the server after each twenty, while the page goes on.

let adaptingTimer = null;

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

// The search for a category.

async function loadLabels(source) {
  if (labels.has(source)) return;
  labels.set(source, null); // on their way
  try {
    labels.set(source, await request("/api/labels/" + source));
  } catch {
    labels.delete(source);
    setTimeout(() => { if (current && current.source === source) loadLabels(source); }, 5000);
    return;
  }
  if (document.activeElement !== $("search") || current.source !== source) return;
  const picks = picksOnArrival;
  find();
  if (picks) pick(picked);
}

const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

function find() {
  const wanted = plain($("search").value.trim()), known = current ? labels.get(current.source) || [] : [];
  const rank = (label) => { const at = plain(label).indexOf(wanted); return at < 0 ? 2 : at === 0 ? 0 : 1; };
  finds = known.map((label) => [rank(label), label]).filter(([place]) => place < 2).sort((a, b) => a[0] - b[0]).map(([, label]) => label).slice(0, SHOWN_LABELS);
  picked = wanted && finds.length ? 0 : -1;
  picksOnArrival = false;
  showFound(true);
}

function showFound(isOpen) {
  $("found").hidden = !isOpen;
  $("search").setAttribute("aria-expanded", String(isOpen));
  $("found").replaceChildren(...(isOpen ? finds : []).map((label, index) => {
    const option = element("li", visible(label), {id: "found-" + index});
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", String(index === picked));
    option.addEventListener("pointerdown", (event) => { event.preventDefault(); pick(index); });
    return option;
  }));
  if (isOpen && !finds.length) $("found").append(element("li", current && labels.get(current.source) ? "no such category" : "the categories are still loading"));
  const active = isOpen && picked >= 0 ? $("found-" + picked) : null;
  if (active) { $("search").setAttribute("aria-activedescendant", active.id); active.scrollIntoView({block: "nearest"}); }
  else $("search").removeAttribute("aria-activedescendant");
}

function pick(index) {
  const label = finds[index];
  if (label === undefined) return;
  closeSearch();
  decide("label", label);
}

function closeSearch() {
  $("search").value = "";
  picksOnArrival = false;
  showFound(false);
  if (current) current.element.focus({preventScroll: true});
}

function searchKey(event) {
  if (event.isComposing) return;
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    if (finds.length) picked = (picked + (event.key === "ArrowDown" ? 1 : finds.length - (picked < 0 ? 0 : 1))) % finds.length;
    showFound(true);
  } else if (event.key === "Enter") {
    if (current && labels.get(current.source)) pick(picked);
    else picksOnArrival = true;
  }
  else if (event.key === "Escape") closeSearch();
  else return;
  event.preventDefault();
}

// The selection.

function select(row, isSelected) {
  if (isSelected) selected.add(row); else selected.delete(row);
  paint(row);
}

function toggle(row, isRange) {
  if (isRange && anchor) {
    const [first, last] = [rows.indexOf(anchor), rows.indexOf(row)].sort((a, b) => a - b);
    rows.slice(first, last + 1).forEach((each) => select(each, true));
  } else select(row, !selected.has(row));
  anchor = row;
  showSelection();
}

function clearSelection() {
  [...selected].forEach((row) => select(row, false));
  showSelection();
}

function showSelection() {
  const many = selected.size;
  $("selected").textContent = many ? many + " selected: a correction applies to all of them" : "Nothing selected";
  for (const id of ["accept-selected", "set-selected", "not-selected", "clear-selected"]) $(id).hidden = !many;
}

// Who, keys, clicks.

function askName() {
  $("name-input").value = "asksName" in page ? "" : author;
  $("name").showModal();
  $("name-input").select();
}

async function saveName() {
  try {
    author = (await post("/api/name", {name: $("name-input").value})).author;
    $("who").textContent = visible(author);
    delete page.asksName;
    planProgress(0);
  } catch (error) {
    complain("The name was not saved: " + error.message);
  }
}

const KEYS = {
  Enter: accept, n: () => decide("not_product"), s: skip, ArrowRight: () => move(1), ArrowLeft: () => move(-1), u: undo,
  ArrowDown: () => move(columns()), ArrowUp: () => move(-columns()), " ": () => toggle(current), x: () => toggle(current),
  m: () => showMap(shownMap ? 0 : 1), "/": () => $("search").focus(), "?": () => $("keys").showModal(), Escape: clearSelection,
};

function onKey(event) {
  if (event.isComposing || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
  const target = event.target, isField = target.matches("input, select, textarea");
  if (isField || (target.matches("button, a, summary") && ["Enter", " "].includes(event.key))) return;
  if (event.ctrlKey) {
    if (event.key.toLowerCase() !== "a") return;
    selectAll();
  } else if (/^[1-5]$/.test(event.key)) {
    const answer = current && current.answers[event.key - 1];
    if (answer) decide("label", answer[0]);
  } else {
    const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act || (!current && event.key !== "?")) return;
    if (event.repeat && !event.key.startsWith("Arrow")) { event.preventDefault(); return; }  // a key that is kept down counts once
    act();
  }
  event.preventDefault();
}

function selectAll() {
  rows.forEach((row) => select(row, true));
  showSelection();
}

function onListClick(event) {
  const element = event.target.closest("li");
  const row = element && byItem.get(Number(element.dataset.item));
  if (!row) return;
  if (event.target.matches(".tick") || event.shiftKey || event.ctrlKey || event.metaKey) toggle(row, event.shiftKey);
  else anchor = row;
  show(row);
}

function start() {
  document.addEventListener("keydown", onKey);
  $("list").addEventListener("click", onListClick);
  $("list").addEventListener("mousedown", (event) => { if (event.shiftKey) event.preventDefault(); });
  $("search").addEventListener("keydown", searchKey);
  $("search").addEventListener("input", find);
  $("search").addEventListener("focus", find);
  $("search").addEventListener("blur", () => { picksOnArrival = false; showFound(false); });
  const actions = {
    accept, "not-product": () => decide("not_product"), skip, undo, map: () => showMap(shownMap ? 0 : 1), help: () => $("keys").showModal(), who: askName,
    "select-all": selectAll, "accept-selected": accept, "not-selected": () => decide("not_product"), "set-selected": () => $("search").focus(), "clear-selected": clearSelection,
  };
  for (const [id, act] of Object.entries(actions)) $(id).addEventListener("click", act);
  $("name").querySelector("form").addEventListener("submit", saveName);
  $("name").addEventListener("cancel", (event) => { if ("asksName" in page) event.preventDefault(); });
  // Otherwise the button that opened it would take the keys.
  for (const id of ["name", "keys"]) $(id).addEventListener("close", () => { if (current) current.element.focus({preventScroll: true}); });
  // Empty fields would only make the address long.
  $("filters").querySelector("form").addEventListener("submit", (event) => {
    for (const field of event.target.elements) if (field.name && !field.value) field.disabled = true;
  });
  window.addEventListener("beforeunload", (event) => { if (outbox.length) event.preventDefault(); });
  loadMore();
  showProgress();
  if ("asksName" in page) askName();
}

start();
