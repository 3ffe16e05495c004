// What a reviewer says is kept in an outbox until the server has answered. The answer rules: a word that came second
// is shown as a conflict and changes nothing.

import {$, complain, personKey, say, visible} from "./dom.js";
import {at, entries, sameWord, saidOf, urlOf, wordText} from "./entries.js";
import {post} from "./requests.js";
import {versus} from "./versus.js";

const BATCH = 200, LONGEST_PAUSE = 15000;
const outbox = [];                  // {row, verdict, label}: said, and not answered yet
export const undone = [];           // what I said, last one last: lists of {row, before, said, own}
let isSending = false, failures = 0, batchSize = BATCH;
let changed = () => {}, settled = () => {};

// changed: is called with each entry of which something else holds now; settled: when all has been answered.
export function onChange(entryChanged, allSettled) { [changed, settled] = [entryChanged, allSettled]; }

export const isWaiting = () => outbox.length > 0;
export const waitingEntries = () => outbox.map((each) => each.row.entry);

// A null word takes back. A word that has not been sent yet gives way to the later one.
export function put(row, word) {
  delete row.conflict;
  const waiting = outbox.findIndex((each) => each.row === row && !each.isSent);
  if (waiting >= 0) outbox.splice(waiting, 1);
  row.pending = word;
  const isOutdated = Boolean(word && word.outdated);  // undone back to it, the correction still is not about these bytes
  const isAsSent = outbox.some((each) => each.row === row);
  const isNews = isAsSent || (word ? !sameWord(word, row.word) || row.word.outdated !== isOutdated || personKey(row.word.by) !== personKey(at.author) : row.word !== null);
  if (isNews) outbox.push({row, verdict: word ? word.verdict : "withdrawn", label: word ? word.label : null, result: isOutdated ? word.result : row.result, isOutdated, isSent: false});
  else delete row.pending;
  changed(row.entry);
}

export function send() {
  showSaving();
  showConflicts();
  flush();
}

// One request at a time, one correction per image in each, so that every correction knows which one it follows.

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
  settled();
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
  const holds = outcome.id === null && !outcome.second ? null : {...outcome, result: sent.result, outdated: outcome.status === "saved" && sent.isOutdated};
  if (outcome.status === "saved") row.word = holds;
  else {
    remove((each) => each.row === row);  // what I said after it followed a word that does not hold
    forget(row);
    row.word = holds;
    row.conflict = {verdict: sent.verdict, label: sent.label, isGone: outcome.status === "gone"};
  }
  if (!outbox.some((each) => each.row === row)) delete row.pending;
  changed(row.entry);
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
  changed(row.entry);
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

// Conflicts: both words side by side, and a button for each; one line for the images of an entry with the same two.

function showConflicts() {
  const conflicting = entries.flatMap((entry) => entry.images).filter((row) => row.conflict);
  $("conflicts").hidden = !conflicting.length;
  const focused = $("conflicts").contains(document.activeElement), groups = new Map();
  for (const row of conflicting) {
    const key = [row.entry.id, ...wordsOf(row)].join("\n");
    groups.set(key, [...(groups.get(key) || []), row]);
  }
  $("conflicts").replaceChildren(...[...groups.values()].map(conflictLine));
  if (conflicting.length && !focused) say("Conflicts with other reviewers: " + conflicting.length + " images");
}

const wordsOf = ({word, conflict}) => [
  conflict.isGone ? "the image was removed from the ledger" : word ? wordText(word.verdict, word.label) : "withdrawn",
  conflict.verdict === "withdrawn" ? "withdrawn" : wordText(conflict.verdict, conflict.label),
];

function conflictLine(rows) {
  const row = rows[0], {isGone} = row.conflict, [theirs, mine] = wordsOf(row);
  const by = row.word ? visible(row.word.by) : "somebody", wanted = mine === "withdrawn" ? "withdrew it" : "chose " + mine;
  const stands = isGone ? theirs : by + (row.word ? " chose " + theirs : " has withdrawn the correction");
  const name = rows.length > 1 ? row.entry.name + " (" + rows.length + " images)" : visible(row.key_text);
  const keep = () => { for (const each of rows) { delete each.conflict; changed(each.entry); } showConflicts(); settled(); };
  const sides = [{who: isGone ? "" : by, what: theirs, act: isGone ? "OK" : "Keep theirs", does: keep}];
  if (!isGone) sides.push({who: "you", what: mine, act: "Use mine", does: () => insist(rows)});
  return versus(name, urlOf(row, 240), sides, name + ": " + stands + "; you " + wanted + ". Their correction is kept.");
}

function insist(rows) {
  const words = rows.map((row) => ({row, before: saidOf(row), said: row.conflict.verdict === "withdrawn" ? null : {verdict: row.conflict.verdict, label: row.conflict.label}, own: row.isOwn}));
  undone.push(words);
  for (const {row, said} of words) put(row, said);
  send();
}
