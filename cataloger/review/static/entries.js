// What is reviewed. An entry is a product with its images, or an image alone. What is said is always said of images:
// a row is an image as /api/queue gives it.

import {page, visible} from "./dom.js";

export const entries = [];           // in the order of the queue
export const byId = new Map();       // the item of an entry's first image -> the entry
export const selected = new Set();   // entries
export const at = {current: null, alone: null, anchor: null, author: page.author, isLost: false};
// alone: the one image of the current entry that the next answer is for; null for the product. isLost: somebody else has
// taken the current entry while a field had the focus.

export const isSurvey = () => document.body.classList.contains("survey");

export function entryOf(found) {
  const images = found.images || [found];
  const entry = {...found, images, main: images[found.main || 0], id: images[0].item};
  for (const row of images) {
    row.entry = entry;
    if (row.counts === undefined) row.counts = true;
  }
  entry.name = visible(entry.product === null || !found.images ? entry.main.key_text : entry.product_text);
  return entry;
}

// What was said of an image and is not answered yet, else the word of the ledger; and the same, if it fits the bytes.
export const saidOf = (row) => ("pending" in row ? row.pending : row.word);
export const held = (row) => (saidOf(row) && !saidOf(row).outdated ? saidOf(row) : null);
export const wordText = (verdict, label) => (verdict === "label" ? visible(label) : "not a product");
export const sameWord = (a, b) => (a ? a.verdict : null) === (b ? b.verdict : null) && (a ? a.label : null) === (b ? b.label : null);

const counted = (entry) => entry.images.filter((row) => row.counts);

// What was said of an entry: of most of the images that its answer is made from; null while one of them is open.
export function heldOf(entry) {
  const words = counted(entry).map(held);
  if (words.some((word) => !word)) return null;
  const named = words.filter((word) => word.verdict === "label");
  const often = (word) => named.filter((each) => each.label === word.label).length;
  return named.length ? named.reduce((best, word) => (often(word) > often(best) ? word : best)) : words[0];
}

export const isDone = (entry) => heldOf(entry) !== null;
export const hasConflict = (entry) => entry.images.some((row) => row.conflict);

// The images that a word about an entry is a word about. Those set aside show something else: they get it only if
// the model says the same of them. What has been said in this page of one of the images alone stays.
export function imagesFor(entry, said) {
  if (said.verdict !== "label") return entry.images.filter((row) => !row.isOwn);
  return entry.images.filter((row) => !row.isOwn && (row.counts || row.answers[0][0] === said.label));
}

// What the panel shows the answers of: the image that is looked at alone, else the product.
export const subject = () => at.alone || at.current;
export const urlOf = (row, size) => "/image/" + row.item + "/" + size + ".jpg?" + row.result;

export function whyAside(row) {
  if (row.counts) return "";
  return row.disagrees ? "shows something else: " + visible(row.answers[0][0]) : "the model abstains";
}
