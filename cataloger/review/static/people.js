// The people of this catalog: who reviews what right now, and what each has done on the last days.

import {$, button, complain, element, page, percent, namesOf, personKey, visible} from "./dom.js";
import {wordText} from "./entries.js";
import {partText} from "./filters.js";
import {post, request} from "./requests.js";
import {versus} from "./versus.js";

const EVERY = 5000;
let timer = null;

async function load() {
  clearTimeout(timer);
  if (!$("team").open) return;
  try {
    show(await request("/api/people?zone=" + -new Date().getTimezoneOffset()));
    complain("");
  } catch (error) {
    $("now").replaceChildren(element("li", "It cannot be read, trying again: " + error.message));
  }
  timer = setTimeout(load, EVERY);
}

function show({people, days, agreement, disagreements, assignments}) {
  $("now").replaceChildren(...namesOf(people.map(({person}) => person)).map((person) => {
    const windows = people.filter((each) => personKey(each.person) === personKey(person)), item = element("li");
    const opened = windows.filter(({open}) => open !== null).map(({open}) => visible(open));
    const surveyed = windows.filter(({open}) => open === null).reduce((sum, {products}) => sum + products, 0);
    const what = [opened.length ? "looks at " + opened.join(", ") : "", surveyed ? "has " + counted(surveyed) : ""].filter(Boolean);
    item.append(element("b", visible(person)), " " + what.join(" and "));
    return item;
  }));
  if (!people.length) $("now").append(element("li", "Nobody at the moment.", {className: "soft"}));
  $("days").tBodies[0].replaceChildren(...days.map(({day, author, products, images, agreed}) => {
    const row = element("tr");
    row.append(element("td", day), element("td", visible(author)));
    for (const number of [products, images, agreed]) row.append(element("td", number.toLocaleString(), {className: "number"}));
    return row;
  }));
  $("days").hidden = !days.length;
  showAgreement(agreement);
  $("disputed").replaceChildren(...disagreements.map(disputedLine));
  $("assignments").replaceChildren(...assignments.map(assignmentLine));
  if (!assignments.length) $("assignments").append(element("li", "None. What is assigned to a person is shown to no other.", {className: "soft"}));
  const names = namesOf([...people.map((each) => each.person), ...days.map((each) => each.author)]);
  $("persons").replaceChildren(...names.map((name) => element("option", null, {value: name})));
}

function assignmentLine({id, person, filters, text, products, reviewed}) {
  const item = element("li"), remove = button("Remove", () => change({remove: id}), {ariaLabel: "Remove " + visible(person) + ": " + visible(text)});
  item.append(element("b", visible(person) + ": "), element("a", visible(text), {href: "/?" + filters}), " " + reviewed.toLocaleString() + " of " + counted(products) + " reviewed ", remove);
  return item;
}

async function change(values) {
  try {
    await post("/api/assignments", values);
    $("assign-to").value = "";
  } catch (error) {
    $("assign-what").textContent = "It was not changed: " + error.message;
    return;
  }
  load();
}

function askWhom() {
  const text = partText();
  $("assign-what").textContent = text ? "Assign what is filtered now, " + text + ", to" : "To assign a part of the queue, filter for it first, by a category for example.";
  $("assigning").hidden = !text;
}

function showAgreement({products, same, open, kappa}) {
  const parts = ["Answered twice: " + counted(products) + ", " + same.toLocaleString() + " of them with the same answer (" + percent(same / products) + ")"];
  if (kappa.value !== null) parts.push("Cohen's kappa " + kappa.value.toFixed(2) + " (95% interval " + kappa.low.toFixed(2) + " to " + kappa.high.toFixed(2) + ")");
  if (open) parts.push(open.toLocaleString() + " still to be decided");
  $("agreement").textContent = products ? parts.join("; ") + "." : "";
  $("agreement").hidden = !products;
}

// What two people have called differently: one answer decides, and is recorded as any correction.
function disputedLine({name, answers, images}) {
  const sides = answers.map(({author, verdict, label}) => ({
    who: visible(author), what: wordText(verdict, label), act: "Decide so", does: () => settleDispute(images, verdict, label),
  }));
  return versus(visible(name), "/image/" + images[0][0] + "/240.jpg", sides);
}

async function settleDispute(images, verdict, label) {
  try {
    await post("/api/words", {words: images.map(([item, expected, result]) => ({item, expected, verdict, label, result}))});
  } catch (error) {
    complain("It was not decided: " + error.message);
  }
  load();
}

const counted = (number) => number.toLocaleString() + (number === 1 ? " product" : " products");

export function watchPeople() {
  $("people").addEventListener("click", () => { $("team").showModal(); askWhom(); load(); });
  $("assign").addEventListener("click", () => change({person: $("assign-to").value, filters: page.query}));
}
