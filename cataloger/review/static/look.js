// A picture of the survey over the page, in full size or whole with the loupe. Looking at it marks nothing.

import {$, visible} from "./dom.js";
import {at, byId} from "./entries.js";
import {endZoom, isZoomed, showPicture, toggleLoupe, toggleMap, toggleZoom} from "./stage.js";

const HOLD = 500;  // milliseconds until a finger at rest is no tap
const AT_REST = 10;  // pixels that it may move

let pointed = null;  // the card that the pointer was moved to last, unless an arrow key has gone on since
let lastPoint = "", home = null;

export const isLooking = () => $("look").open;

const hasLoupe = () => $("loupe").getAttribute("aria-pressed") === "true";

// withLoupe: the whole picture with the loupe, else full size.
function open(withLoupe) {
  if (!isLooking()) {
    home = $("stage").parentElement;
    $("look").append($("stage"));
    $("look").showModal();
  }
  $("look-name").textContent = at.current.name + ": " + visible(at.current.answers[0][0]);
  $("picture").hidden = true;  // the one that was looked at before
  if (hasLoupe() !== withLoupe) toggleLoupe();
  showPicture(() => { if (!withLoupe && isLooking()) toggleZoom(); });
}

function tidy() {
  endZoom();
  if (hasLoupe()) toggleLoupe();
  home.prepend($("stage"));
}

// Opens the picture of the card under the pointer, else of the one that has the focus. show: goes to an entry.
export function look(show, withLoupe) {
  const entry = pointed && pointed.isConnected ? byId.get(Number(pointed.dataset.item)) : null;
  if (entry && entry !== at.current) show(entry, {isAsked: true});
  if (at.current) open(withLoupe);
}

// What a key means while a picture is looked at; Escape closes any dialog by itself. move: goes on by some entries.
export function onLookKey(event, move) {
  const keys = {
    z: () => $("look").close(), m: toggleMap, l: () => { if (isZoomed()) endZoom(); toggleLoupe(); },
    arrowright: () => goOn(move, 1), arrowleft: () => goOn(move, -1),
  };
  const does = keys[event.key.toLowerCase()];
  if (!does || event.ctrlKey) return;
  event.preventDefault();
  if (!event.repeat) does();
}

function goOn(move, steps) {
  const before = at.current;
  move(steps);
  if (at.current !== before) open(hasLoupe());
}

// A finger that is held on a card looks at its picture, and marks nothing. does: opens it.
function watchHold(does) {
  let timer = 0, start = null, wasHeld = false;
  const end = () => clearTimeout(timer);
  const held = (card) => {
    wasHeld = true;
    pointed = card;
    does();
    pointed = null;
  };
  document.addEventListener("pointerdown", (event) => {
    const card = event.target.closest("#list li");
    end();
    wasHeld = false;
    start = event;
    if (event.pointerType === "touch" && card) timer = setTimeout(() => held(card), HOLD);
  });
  $("list").addEventListener("pointermove", (event) => {
    if (start && Math.hypot(event.clientX - start.clientX, event.clientY - start.clientY) > AT_REST) end();
  });
  for (const ended of ["pointerup", "pointercancel"]) document.addEventListener(ended, end);
  $("list").addEventListener("contextmenu", (event) => { if (start?.pointerType === "touch") event.preventDefault(); });
  document.addEventListener("click", (event) => {
    if (!wasHeld) return;
    wasHeld = false;  // the finger that held is lifted
    event.preventDefault();
    event.stopPropagation();
  }, {capture: true});
}

// onHold: what a finger does that is held on a card; looks at its picture.
export function watchLook(onHold) {
  watchHold(onHold);
  $("look").addEventListener("close", tidy);
  // A page that scrolls below a pointer at rest moves it to no card.
  $("list").addEventListener("pointermove", (event) => {
    const point = event.screenX + " " + event.screenY;
    if (event.pointerType !== "touch" && point !== lastPoint) pointed = event.target.closest("li");
    lastPoint = point;
  });
  $("list").addEventListener("pointerleave", () => { pointed = null; });
  document.addEventListener("keydown", (event) => { if (event.key.startsWith("Arrow")) pointed = null; }, {capture: true});
}
