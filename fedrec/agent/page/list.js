// The recommendations: a card each, with reasons as bars and a button for each thing to say.

import { get, post } from "./api.js";
import { announce, bar, button, byId, el, icon, percent } from "./dom.js";
import { toast } from "./toast.js";
import { explain } from "./why.js";

const LENGTH = 12;
const REASONS = 3;

/** What the list answers to for now, beside what is stored. */
export const now = { text: "" };

let changed = async () => {};
/** Who is told when feedback changed what the device knows. */
export const onChange = (listener) => { changed = listener; };

/** Fetch the list and show it; keyboard focus stays in its place. */
export async function showList() {
  const place = focused();
  const asked = new URLSearchParams({ k: LENGTH });
  if (now.text) asked.set("context", now.text);
  const list = await get(`/v1/recommendations?${asked}`);
  byId("cards").replaceChildren(...list.items.map(card));
  byId("nothing").hidden = list.items.length > 0;
  byId("made").textContent = `Made on this device in ${list.milliseconds.toFixed(1)} ms, with release ${list.release}.`;
  if (place >= 0 && list.items.length) titles()[Math.min(place, list.items.length - 1)].focus();
}

const titles = () => [...document.querySelectorAll("#cards h3")];
const focused = () => [...byId("cards").children].findIndex((one) => one.contains(document.activeElement));

function card(item, index) {
  const id = `title-${index}`;
  return el("li", { className: "card", data: { item: item.item_id } },
    el("article", { aria: { labelledby: id } },
      el("div", { className: "head" },
        el("h3", { id, tabIndex: -1 }, item.title),
        item.placed === "best match" ? null : el("span", { className: "tag" }, item.placed)),
      el("p", { className: "meta" }, [item.category, item.provider].filter(Boolean).join(" · ")),
      reasons(item.reasons),
      buttons(item)));
}

function reasons(all) {
  const shown = all.slice(0, REASONS);
  if (!shown.length) return el("p", { className: "note" }, "Shown to learn what you like.");
  return el("ul", { className: "reasons", aria: { label: "Why it is here" } }, ...shown.map((reason) =>
    el("li", {},
      el("span", { className: "because" }, reason.because),
      bar(reason.share, { against: reason.contribution < 0 }),
      el("span", { className: "share" }, `${reason.contribution < 0 ? "−" : ""}${percent(reason.share)}`))));
}

function buttons(item) {
  const say = (action, words, drawing, className = "") =>
    button({ className, data: { action }, aria: { label: `${words}: ${item.title}` } }, () => give(action, item),
      drawing ? icon(drawing) : null, el("span", {}, words));
  const why = button({ className: "quiet", data: { action: "why" }, aria: { label: `Why? ${item.title}` } },
    () => explain(item, now.text), icon("why"), el("span", {}, "Why?"));
  return el("div", { className: "buttons" },
    say("like", "Like", "like"), say("save", "Save", "save"), say("skip", "Skip", "skip"), why, more(item, say));
}

function more(item, say) {
  const menu = el("details", { className: "more" },
    el("summary", { aria: { label: `More about ${item.title}` } }, icon("more"), el("span", { className: "hidden" }, "More")),
    el("div", { className: "menu" },
      say("hide", "Hide this"),
      item.provider ? say("block", `Block ${item.provider}`) : null,
      item.category ? say("not_this_topic", `Not this topic: ${item.category}`) : null));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !menu.open) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });
  menu.addEventListener("focusout", (event) => {
    if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
  });
  return menu;
}

/** Say something about an item; the list, the interests and the badge follow at once. */
export async function give(action, item) {
  const given = await post("/v1/feedback", { action, item_id: item.item_id });
  await changed();
  toast(given.said, { undo: () => takeBack(given.id) });
}

/** Take feedback back: the one with this number, or the last. */
export async function takeBack(id) {
  const undone = await post("/v1/undo", id === undefined ? {} : { id });
  await changed();
  announce(`Taken back: ${undone.said}`);
}
