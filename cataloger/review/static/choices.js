// A field with a list below it of which one is picked: arrows move, Enter picks, Escape leaves.

import {element} from "./dom.js";

// lines: the elements of the open list, made with `option`. pick: of an index. enter, leave: on these keys.
export function choiceList(input, list, prefix, {lines, pick, enter, leave}) {
  const made = {finds: [], picked: -1, set, show, option};

  function set(finds, isTyped) {
    made.finds = finds;
    made.picked = isTyped && finds.length ? 0 : -1;
  }

  function show(isOpen) {
    list.hidden = !isOpen;
    input.setAttribute("aria-expanded", String(isOpen));
    list.replaceChildren(...(isOpen ? lines() : []));
    const active = isOpen && made.picked >= 0 ? document.getElementById(prefix + made.picked) : null;
    if (active) { input.setAttribute("aria-activedescendant", active.id); active.scrollIntoView({block: "nearest"}); }
    else input.removeAttribute("aria-activedescendant");
  }

  function option(index) {
    const item = element("li", null, {id: prefix + index});
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", String(index === made.picked));
    item.addEventListener("mousedown", (event) => event.preventDefault());  // the field keeps the focus
    item.addEventListener("click", () => pick(index));  // not sooner: a finger scrolls the list, and its tap ends here
    return item;
  }

  function move(step) {
    const {length} = made.finds, from = made.picked < 0 && step < 0 ? 0 : made.picked;
    if (length) made.picked = (from + step + length) % length;
    show(true);
  }

  input.addEventListener("keydown", (event) => {
    const acts = {ArrowDown: () => move(1), ArrowUp: () => move(-1), Enter: enter, Escape: leave};
    if (event.isComposing || !Object.hasOwn(acts, event.key)) return;
    acts[event.key]();
    event.preventDefault();
  });
  return made;
}
