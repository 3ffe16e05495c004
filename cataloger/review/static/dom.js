// Small helpers of all modules. Text of the catalog reaches the page as textContent alone.

export const $ = (id) => document.getElementById(id);
export const page = document.body.dataset;

export const visible = (text) => String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => "\\u{" + c.codePointAt(0).toString(16) + "}");
export const percent = (share) => (100 * share).toFixed(share < 0.1 ? 1 : 0) + "%";
// As the server compares names of people.
export const personKey = (name) => name.normalize("NFC").trim().replace(/\s+/g, " ").toLowerCase();

// Each person once, of several spellings the last one.
export const namesOf = (names) => [...new Map(names.map((name) => [personKey(name), name])).values()];
export const plain = (text) => String(text).normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

export function element(tag, text, properties) {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  return Object.assign(made, properties);
}

export function button(text, act, properties) {
  const made = element("button", text, {type: "button", ...properties});
  made.addEventListener("click", act);
  return made;
}

export function say(text) { $("said").textContent = text; }

export function complain(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}

// A short list kept in this browser; a browser that keeps nothing has an empty one.

export function remembered(name) {
  try { return JSON.parse(localStorage.getItem("cataloger-" + name)) || []; } catch { return []; }
}

export function remember(name, values) {
  try { localStorage.setItem("cataloger-" + name, JSON.stringify(values)); } catch { /* a private window */ }
}
