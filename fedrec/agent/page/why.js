// Every part of one score, largest first, adding up to it.

import { get } from "./api.js";
import { bar, button, byId, el, percent } from "./dom.js";

const LISTED = 10;

/** Open the dialog that takes an item's score apart. */
export async function explain(item, text) {
  const asked = text ? `?${new URLSearchParams({ context: text })}` : "";
  const why = await get(`/v1/explanations/${encodeURIComponent(item.item_id)}${asked}`);
  const parts = [...why.parts].sort((one, other) => Math.abs(other.contribution) - Math.abs(one.contribution));
  const rest = parts.slice(LISTED);
  const dialog = byId("why");
  dialog.replaceChildren(
    el("h2", { id: "why-title" }, `Why “${why.title}”?`),
    el("p", { className: "note" }, "Its score is a sum. These are all of its parts, as this device computed them."),
    table(parts.slice(0, LISTED)),
    rest.length ? el("details", {}, el("summary", {}, `${rest.length} smaller parts`), table(rest)) : null,
    el("p", { className: "total" }, "Together ", el("strong", {}, why.score.toFixed(4))),
    el("div", { className: "row" }, button({ className: "strong" }, () => dialog.close(), "Close")));
  dialog.showModal();
}

function table(parts) {
  return el("ul", { className: "reasons parts" }, ...parts.map((part) =>
    el("li", {},
      el("span", { className: "because" }, part.because),
      bar(part.share, { against: part.contribution < 0 }),
      el("span", { className: "share" }, percent(part.share)),
      el("span", { className: "amount" }, signed(part.contribution)))));
}

const signed = (number) => `${number < 0 ? "−" : "+"}${Math.abs(number).toFixed(4)}`;
