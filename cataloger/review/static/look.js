// A picture of the survey over the page, in full size or whole with the loupe. Looking at it marks nothing.

import {$, visible} from "./dom.js";
import {at, byId} from "./entries.js";
import {endZoom, isZoomed, showPicture, toggleLoupe, toggleMap, toggleZoom} from "./stage.js";

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

export function watchLook() {
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
