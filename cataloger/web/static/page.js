// What makes a page that shows quicker to use: search, sorting, opened details. Without it everything is still readable.
"use strict";

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const folded = (text) => text.normalize("NFKC").toLowerCase();

function reveal() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  all(":scope > details", target).slice(0, 1).forEach((details) => { details.open = true; });
  target.scrollIntoView();
}

function sortable(table) {
  const body = table.tBodies[0];
  all("thead th[data-sort]", table).forEach((head) => {
    const column = [...head.parentElement.children].indexOf(head), isNumber = head.dataset.sort === "number";
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const falls = head.ariaSort ? head.ariaSort !== "descending" : isNumber;
      const value = (row) => {
        const cell = row.cells[column], text = cell.dataset.value ?? cell.textContent.trim();
        return isNumber ? (text === "" ? -Infinity : Number(text)) : folded(text);
      };
      const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0) * (falls ? -1 : 1);
      const rows = [...body.rows].map((row, place) => [value(row), place, row]);
      rows.sort((a, b) => compare(a[0], b[0]) || a[1] - b[1]);
      body.append(...rows.map(([, , row]) => row));
      all("thead th", table).forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falls ? "descending" : "ascending");
    });
  });
}

function search(input, told) {
  const parts = all("[data-find]").map((node) => [node, folded(node.textContent + " " + (node.dataset.find ?? ""))]);
  const details = all("details"), before = new Map();
  const none = Object.assign(document.createElement("p"), {className: "notice", hidden: true});
  let shown = "";
  document.querySelector("main > header, main").append(none);
  const find = () => {
    const wanted = folded(input.value.trim());
    if (wanted === shown) return;
    if (!shown) details.forEach((each) => before.set(each, each.open));
    let found = 0;
    for (const [node, text] of parts) {
      node.hidden = !text.includes(wanted);
      found += wanted && !node.hidden ? 1 : 0;
    }
    for (const each of details) {
      const mine = all("[data-find]", each);
      each.open = wanted && mine.length ? mine.some((node) => !node.hidden) : before.get(each) ?? each.open;
      each.hidden = Boolean(wanted) && mine.length > 0 && mine.every((node) => node.hidden);
    }
    shown = wanted;
    document.body.classList.toggle("searching", Boolean(wanted));
    told.textContent = wanted ? `${found} found` : "";
    none.hidden = !wanted || found > 0;
    none.textContent = `Nothing that this page shows contains “${input.value.trim()}”. ${document.body.dataset.samples ?? ""}`;
    if (wanted) parts.find(([node]) => !node.hidden)?.[0].scrollIntoView({block: "center"});
  };
  input.addEventListener("input", find);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { input.value = ""; find(); }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) {
      event.preventDefault();
      input.focus();
    }
  });
}

function marked(links) {
  const places = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
  const mark = () => {
    const line = innerHeight / 3;
    const current = places.findLastIndex((place) => place && place.getBoundingClientRect().top <= line);
    links.forEach((link, index) => (index === current ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current")));
  };
  let waiting = 0;
  addEventListener("scroll", () => { waiting ||= requestAnimationFrame(() => { waiting = 0; mark(); }); }, {passive: true});
  mark();
}

all("table.sortable").forEach(sortable);
const input = document.getElementById("find");
if (input) {
  document.getElementById("finding").hidden = false;
  search(input, document.getElementById("found"));
}
marked(all("nav.sections a"));
addEventListener("hashchange", reveal);
all("nav.sections a").forEach((link) => link.addEventListener("click", () => setTimeout(reveal)));
let closed = [];
addEventListener("beforeprint", () => {
  closed = all("details:not([open])");
  closed.forEach((each) => { each.open = true; });
});
addEventListener("afterprint", () => closed.forEach((each) => { each.open = false; }));
reveal();
