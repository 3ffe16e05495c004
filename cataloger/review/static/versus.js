// Two answers about one entry side by side, and a button for each.

import {button, element} from "./dom.js";

// picture: its address. sides: {who, what, act, does}: who chose what, and what a button does; act: its text.
export function versus(name, picture, sides, note) {
  const line = element("div", null, {className: "versus"}), shown = element("div", null, {className: "sides"});
  line.append(element("img", null, {alt: "", src: picture}), element("p", note || name));
  shown.append(...sides.map(({who, what, act, does}) => {
    const side = element("div");
    side.append(element("span", who, {className: "who"}), element("b", what), button(act, does, {ariaLabel: act + ": " + what}));
    return side;
  }));
  line.append(shown);
  return line;
}
