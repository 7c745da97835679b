// Words for right now: they steer the list without being stored, and find titles in the catalogue.

import { get, post } from "./api.js";
import { announce, button, byId, el, icon, when } from "./dom.js";
import { give, now, showList, takeBack } from "./list.js";

const FOUND = 6;

/** Let the search box work. reads: whether the release understands words; else they only find titles. */
export function searchBox(reads, attempt) {
  if (!reads) {
    byId("words-label").textContent = "Find a title";
    byId("words").placeholder = "Words of a title";
    byId("words-hint").hidden = true;
  }
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    attempt(() => look(byId("words").value.trim(), reads));
  });
  byId("words").addEventListener("input", () => {
    if (!byId("words").value) attempt(() => look("", reads));
  });
  byId("undo").addEventListener("click", () => attempt(() => takeBack()));
}

async function look(words, reads = true) {
  const before = now.text;
  now.text = reads ? words : "";
  byId("words").value = words;
  const found = showFound(words);
  if (now.text !== before) await Promise.all([showList(), showContext()]);
  const titles = await found;
  announce([now.text ? `The list now answers to “${words}”.` : before && "The list is as before.",
    words && `${titles} titles found.`].filter(Boolean).join(" "));
}

async function showFound(words) {
  const found = words ? (await get(`/v1/items?${new URLSearchParams({ query: words, limit: FOUND })}`)).items : [];
  // Where words steer the list, titles are beside the point unless there are some.
  byId("found").hidden = !words || (now.text !== "" && !found.length);
  byId("found-none").hidden = found.length > 0;
  byId("found-items").replaceChildren(...found.map((item) =>
    el("li", {},
      el("span", { className: "because" }, item.title, el("small", {}, [item.category, item.provider].filter(Boolean).join(" · "))),
      button({ className: "quiet", aria: { label: `Like: ${item.title}` } }, () => give("like", item), icon("like"), el("span", {}, "Like")),
      button({ className: "quiet", aria: { label: `Save: ${item.title}` } }, () => give("save", item), icon("save"), el("span", {}, "Save")))));
  return found.length;
}

/** What the list takes into account: the words for now, and the last things that were done. */
export async function showContext() {
  const live = await get("/v1/context");
  const words = now.text && el("li", { className: "chip own" }, el("span", { className: "said-of" }, `“${now.text}”`), el("span", { className: "soft" }, "not stored"),
    button({ className: "quiet", aria: { label: "Remember these words as a search" } }, remember, "Remember"),
    button({ className: "quiet", aria: { label: "Drop these words" } }, () => look(""), icon("close")));
  byId("context-chips").replaceChildren(
    words || "",
    ...live.recent.slice(0, 3).map((one) => el("li", { className: "chip" }, el("span", { className: "said-of" }, one.said), when(one.time))));
  byId("undo").hidden = !live.recent.some((one) => !["search", "comment"].includes(one.kind));
  byId("cold").hidden = live.events > 0;
  return live;
}

async function remember() {
  const text = now.text;
  await post("/v1/events", { events: [{ kind: "search", text }] });
  await look("");
  announce(`Remembered: you searched for “${text}”.`);
}
