// Requests. An answer that is no success throws an error with its status; no answer at all has status 0.

import {page, visible} from "./dom.js";

const PATIENCE = 20000;
let csrf = page.csrf;

export async function request(path, options = {}) {
  let answer, text;
  try {
    answer = await fetch(path, {...options, credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE)});
    text = await answer.text();
  } catch (cause) {
    throw Object.assign(new Error("the server does not answer; is `cataloger review` still running?"), {status: 0, cause});
  }
  if (!answer.ok) throw Object.assign(new Error(visible(text)), {status: answer.status});
  return JSON.parse(text);
}

const sending = (values) => ({method: "POST", body: JSON.stringify(values), headers: {"X-CSRF-Token": csrf, "Content-Type": "application/json"}});

// Said while the page ends: nobody waits for an answer.
export function postLast(path, values) {
  fetch(path, {...sending(values), credentials: "same-origin", keepalive: true}).catch(() => {});
}

export async function post(path, values) {
  const send = () => request(path, sending(values));
  try {
    return await send();
  } catch (error) {
    if (error.status !== 403) throw error;
    csrf = (await request("/api/session")).csrf;  // the server was restarted
    return send();
  }
}
