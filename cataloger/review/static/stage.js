// The picture that is looked at: it fills the stage; full size, loupe, and the map over it.

import {$, button, element, visible} from "./dom.js";
import {at, held, urlOf, whyAside, wordText} from "./entries.js";
import {request} from "./requests.js";

const LENS = 240, LENS_SCALE = 3, LEAST_ZOOM = 2, MOST_ZOOM = 8, DRAG = 6;
const zoom = {scale: 1, x: 0, y: 0};
let turn = 0, mapTurn = 0, mapRank = 0;

export const shownRow = () => at.alone || at.current.main;

// loaded: is called once, when it is there.
export function showPicture(loaded = () => {}) {
  const row = shownRow(), mine = ++turn, image = $("picture");
  endZoom();
  showMap(0);
  image.alt = "The image " + visible(row.key_text);
  image.onload = () => {
    image.hidden = false;
    $("no-picture").hidden = true;
    loaded();
    loaded = () => {};
  };
  image.onerror = () => explain("No image: ", urlOf(row, 900), () => mine === turn, true);
  image.src = urlOf(row, 900);
  if (!$("lens").hidden) $("lens").style.backgroundImage = "url(" + urlOf(row, 2048) + ")";
}

async function explain(prefix, url, isWanted, hidesPicture) {
  let reason = "it cannot be shown.";
  try { await request(url); } catch (error) { reason = error.message; }
  if (!isWanted()) return;
  $("no-picture").textContent = prefix + reason;
  if (hidesPicture) $("picture").hidden = true;
  $("no-picture").hidden = false;
}

// The map of a category, over the picture in grey. rank: of the image's own answers, from 1; 0 for none.

export function showMap(rank) {
  const heat = $("heat"), mine = ++mapTurn;
  mapRank = rank;
  $("map").setAttribute("aria-pressed", String(rank > 0));
  $("frame").classList.toggle("mapped", rank > 0);
  heat.hidden = true;
  if (!rank) {
    heat.removeAttribute("src");
    if (!$("picture").hidden) $("no-picture").hidden = true;
    return;
  }
  const row = shownRow(), url = "/map/" + row.item + "/" + rank + ".png?" + row.result;
  heat.alt = "Areas that speak for " + visible(row.answers[rank - 1][0]);
  heat.onload = () => { if (mine === mapTurn) heat.hidden = false; };
  heat.onerror = () => explain("No map: ", url, () => mine === mapTurn, false);
  heat.src = url;
}

// The map of a label: of those that this image has an answer for.
export function showMapOf(label) {
  showMap(1 + shownRow().answers.findIndex(([known]) => known === label));
}

export function toggleMap() { showMap(mapRank ? 0 : 1); }

// Full size. A point stays where it is while the picture grows; then it is dragged.

function place() {
  const {clientWidth: width, clientHeight: height} = $("stage");
  const clamp = (value, size) => Math.min(0, Math.max(size * (1 - zoom.scale), value));
  zoom.x = clamp(zoom.x, width);
  zoom.y = clamp(zoom.y, height);
  $("frame").style.transform = zoom.scale === 1 ? "" : "translate(" + zoom.x + "px, " + zoom.y + "px) scale(" + zoom.scale + ")";
}

function zoomTo(scale, x, y) {
  const factor = scale / zoom.scale;
  zoom.x = x - factor * (x - zoom.x);
  zoom.y = y - factor * (y - zoom.y);
  zoom.scale = scale;
  place();
  const isZoomed = scale > 1;
  $("stage").classList.toggle("zoomed", isZoomed);
  $("zoom").setAttribute("aria-pressed", String(isZoomed));
}

export function endZoom() { if (zoom.scale !== 1) zoomTo(1, 0, 0); }

export const isZoomed = () => zoom.scale > 1;

export function toggleZoom(x, y) {
  if (isZoomed()) { endZoom(); return; }
  const stage = $("stage"), row = shownRow(), mine = turn, sharp = new Image();
  sharp.onload = () => {
    if (mine !== turn || !isZoomed()) return;
    $("picture").src = sharp.src;
  };
  sharp.src = urlOf(row, 2048);
  const image = $("picture");
  const fit = Math.min(stage.clientWidth / image.naturalWidth, stage.clientHeight / image.naturalHeight);
  zoomTo(Math.min(MOST_ZOOM, Math.max(LEAST_ZOOM, 1 / fit)), x ?? stage.clientWidth / 2, y ?? stage.clientHeight / 2);
}

function pointOf(event) {
  const box = $("stage").getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

// The loupe: a round glass that follows the pointer.

export function toggleLoupe() {
  const isOn = $("loupe").getAttribute("aria-pressed") !== "true";
  $("loupe").setAttribute("aria-pressed", String(isOn));
  $("lens").hidden = true;
  if (isOn) $("lens").style.backgroundImage = "url(" + urlOf(shownRow(), 2048) + ")";
}

function moveLens(event) {
  if ($("loupe").getAttribute("aria-pressed") !== "true" || isZoomed() || event.pointerType === "touch" || event.target.closest(".tools")) { $("lens").hidden = true; return; }
  const [x, y] = pointOf(event), stage = $("stage"), image = $("picture"), lens = $("lens");
  const fit = Math.min(stage.clientWidth / image.naturalWidth, stage.clientHeight / image.naturalHeight);
  const width = image.naturalWidth * fit, height = image.naturalHeight * fit;
  const left = (stage.clientWidth - width) / 2, top = (stage.clientHeight - height) / 2;
  lens.hidden = x < left || y < top || x > left + width || y > top + height;
  lens.style.transform = "translate(" + (x - LENS / 2) + "px, " + (y - LENS / 2) + "px)";
  lens.style.backgroundSize = LENS_SCALE * width + "px " + LENS_SCALE * height + "px";
  lens.style.backgroundPosition = (LENS / 2 - LENS_SCALE * (x - left)) + "px " + (LENS / 2 - LENS_SCALE * (y - top)) + "px";
}

// A press on the stage is a click (full size), a drag (of the zoomed picture), or a swipe of a finger.

export function watchStage(swiped) {
  const stage = $("stage");
  let press = null;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest("button")) return;
    press = {x: event.clientX, y: event.clientY, fromX: zoom.x, fromY: zoom.y, isDrag: false};
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    moveLens(event);
    if (!press) return;
    const dx = event.clientX - press.x, dy = event.clientY - press.y;
    press.isDrag ||= Math.hypot(dx, dy) > DRAG;
    if (press.isDrag && isZoomed()) Object.assign(zoom, {x: press.fromX + dx, y: press.fromY + dy}), place();
  });
  stage.addEventListener("pointerup", (event) => {
    if (!press) return;
    const {isDrag, x, y} = press;
    press = null;
    if (!isDrag) toggleZoom(...pointOf(event));
    else if (!isZoomed() && event.pointerType === "touch") swiped(event.clientX - x, event.clientY - y);
  });
  stage.addEventListener("pointercancel", () => { press = null; });
  stage.addEventListener("pointerleave", () => { $("lens").hidden = true; });
  stage.addEventListener("wheel", (event) => {
    if (!isZoomed()) return;
    event.preventDefault();
    const scale = Math.min(MOST_ZOOM, zoom.scale * Math.exp(-event.deltaY / 400));
    if (scale < 1.1) endZoom(); else zoomTo(scale, ...pointOf(event));
  }, {passive: false});
}

// The images of the product. look: shows one of them alone, or null for the product.

export function showFilm(look) {
  const {images} = at.current;
  $("film").replaceChildren(...(images.length > 1 ? images : []).map((row) => {
    const made = button(null, () => look(at.alone === row ? null : row));
    const word = held(row), why = whyAside(row);
    const text = row.conflict ? "conflict" : word ? "✓ " + wordText(word.verdict, word.label) : row.counts ? visible(row.answers[0][0]) : row.disagrees ? "≠ " + visible(row.answers[0][0]) : "abstains";
    made.classList.toggle("aside", !row.counts && !word);
    made.classList.toggle("done", Boolean(word));
    made.setAttribute("aria-pressed", String(at.alone === row));
    made.setAttribute("aria-label", [visible(row.key_text), row === at.current.main ? "main image" : "", why || text].filter(Boolean).join(", "));
    made.title = [visible(row.key_text), why].filter(Boolean).join(": ");
    made.append(element("img", null, {alt: "", src: urlOf(row, 240)}), element("span", row === at.current.main ? "main" : "", {className: "mark"}), element("span", text, {className: "says"}));
    const item = element("li");
    item.append(made);
    return item;
  }));
}

// The images of the product, by one step; past the ends it is the product again.
export function stepImage(steps, look) {
  const order = [null, ...at.current.images];
  look(order[(order.indexOf(at.alone) + steps + order.length) % order.length]);
}

const NEXT = 3;

// Loads the pictures of the next entries before they are asked for.
export function preload(following) {
  for (const entry of following.slice(0, NEXT)) Object.assign(new Image(), {fetchPriority: "high", src: urlOf(entry.main, 900)});
}
