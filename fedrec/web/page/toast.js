// What just happened, and the way back.

import { byId, button, el, icon } from "./dom.js";

// Long enough to read and to reach by keyboard; it stays while somebody is at it.
const STAYS = 12000;
let leaving;

/** Show a line; `undo` gives it a button. An error stays until it is closed. */
export function toast(words, { undo = null, error = false } = {}) {
  const place = byId("toast");
  clearTimeout(leaving);
  const back = undo && button({ className: "strong", id: "toast-undo" }, async () => { hide(); await undo(); }, "Undo");
  const close = button({ className: "quiet", aria: { label: "Close this message" } }, hide, icon("close"));
  place.replaceChildren(el("div", { className: error ? "said error" : "said" }, el("p", {}, words), back, close));
  if (!error) leaving = setTimeout(leave, STAYS);
}

function hide() {
  byId("toast").replaceChildren();
}

function leave() {
  if (byId("toast").matches(":hover, :focus-within")) leaving = setTimeout(leave, STAYS / 4);
  else hide();
}
