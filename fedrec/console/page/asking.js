// Nothing is done without a written reason, and what cannot be taken back asks for a name, too.

import { button, byId, el } from "./dom.js";

let work = null;

/**
 * Open the dialog for an action.
 * title, words: what will happen. confirm: a word to type, or null. go: does it, given the reason.
 */
export function askWhy({ title, words, confirm = null, label, danger = false, go }) {
  const dialog = byId("asking");
  const reason = el("input", { type: "text", id: "reason", maxLength: 300, required: true, minLength: 3, autocomplete: "off" });
  const name = confirm === null ? null : el("input", { type: "text", id: "confirm", maxLength: 63, required: true, autocomplete: "off", spellcheck: false });
  const act = el("button", { type: "submit", className: danger ? "danger" : "strong", id: "do-it" }, label);
  const ready = () => { act.disabled = reason.value.trim().length < 3 || (name !== null && name.value !== confirm); };
  const form = el("form", { method: "dialog", autocomplete: "off", on: { input: ready, submit: (event) => submit(event, reason) } },
    el("label", { htmlFor: "reason" }, "Why? This is kept with the action."), reason,
    name && el("label", { htmlFor: "confirm" }, "Type ", el("code", {}, confirm), " to confirm."), name,
    el("p", { id: "asking-error", className: "alarm", role: "alert", hidden: true }),
    el("div", { className: "row" }, act, button({ className: "quiet" }, () => dialog.close(), "Cancel")));
  work = go;
  ready();
  dialog.replaceChildren(el("h2", { id: "asking-title" }, title), el("p", {}, words), form);
  dialog.showModal();
  reason.focus();
}

async function submit(event, reason) {
  event.preventDefault();
  const act = byId("do-it");
  if (act.disabled) return;
  act.disabled = true;
  try {
    await work(reason.value.trim());
    byId("asking").close();
  } catch (error) {
    byId("asking-error").textContent = error.message;
    byId("asking-error").hidden = false;
    act.disabled = false;
  }
}
