// Take everything along, or make it disappear.

import { get, post, put } from "./api.js";
import { button, byId, el } from "./dom.js";
import { toast } from "./toast.js";

const WORD = "erase";
const KEPT = [["", "for ever"], ["365", "for a year"], ["90", "for three months"], ["30", "for a month"], ["7", "for a week"]];

/** Let the two buttons work; `changed` shows the page anew after erasing. */
export function dataButtons(attempt, changed) {
  byId("export").addEventListener("click", () => attempt(takeAlong));
  byId("erase").addEventListener("click", () => attempt(() => ask(attempt, changed)));
}

/** Show for how long events are kept, and let the person say otherwise. */
export async function showKeeping(attempt, changed) {
  const kept = await get("/v1/retention");
  const days = kept.days === null ? "" : String(kept.days);
  let held = days;
  const known = KEPT.some(([value]) => value === days) ? KEPT : [...KEPT, [days, `for ${days} days`]];
  const choice = el("select", { id: "keep-for", aria: { describedby: "keep-note" } },
    ...known.map(([value, words]) => el("option", { value, selected: value === days }, words)));
  const keep = button({ id: "keep", disabled: true }, () => attempt(async () => {
    const { value, textContent } = choice.selectedOptions[0];
    const done = await put("/v1/retention", { days: value ? Number(value) : null, kinds: kept.kinds });
    held = value;
    settle();
    choice.focus();
    const gone = done.deleted === 1 ? "1 older event was deleted." : `${done.deleted} older events were deleted.`;
    toast(`What you do is kept ${textContent}. ${gone}`);
    await changed();
  }), "Keep it so");
  // A keyboard passes over choices that nobody made, and a shorter one deletes: only the button means it.
  const settle = () => { keep.disabled = choice.value === held; };
  choice.addEventListener("change", settle);
  const note = el("p", { className: "note", id: "keep-note" }, "The button makes it so. A shorter time deletes what is older.");
  const others = Object.keys(kept.kinds).length ? el("p", { className: "note" }, "Some kinds have a time of their own.") : "";
  byId("keeping").replaceChildren(el("label", { className: "keep", htmlFor: "keep-for" }, "Keep what I do"), choice, keep, note, others);
}

async function takeAlong() {
  const all = await get("/v1/export");
  const address = URL.createObjectURL(new Blob([JSON.stringify(all, null, 2)], { type: "application/json" }));
  el("a", { href: address, download: `fedrec-export-${new Date().toISOString().slice(0, 10)}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
  toast("Exported. The file is not encrypted: keep it where only you can read it.");
}

async function ask(attempt, changed) {
  const { participations } = await get("/v1/privacy");
  const dialog = byId("erasing");
  const field = el("input", { type: "text", id: "erase-word", autocomplete: "off", spellcheck: false, autocapitalize: "none" });
  const go = button({ className: "danger", id: "erase-now", disabled: true }, () => attempt(async () => {
    const done = await post("/v1/erase", { confirm: WORD });
    dialog.close();
    await changed();
    toast(done.said);
  }), "Erase everything");
  field.addEventListener("input", () => { go.disabled = field.value.trim().toLowerCase() !== WORD; });
  field.addEventListener("keydown", (event) => { if (event.key === "Enter" && !go.disabled) go.click(); });
  dialog.replaceChildren(
    el("h2", { id: "erasing-title" }, "Erase everything?"),
    el("p", {}, "Gone for good: every event, search and comment, your interests, your settings, and what this device learned for you. Afterwards it knows nothing of you."),
    el("h3", {}, "What erasing cannot recall"),
    el("p", {}, recall(participations)),
    el("p", {}, "The record of what was spent stays, so that the budget holds. It says nothing of what you did."),
    el("label", { htmlFor: "erase-word" }, "Write ", el("strong", {}, WORD), " to go on"),
    field,
    el("div", { className: "row" }, go, button({ id: "erase-leave" }, () => dialog.close(), "Keep everything")));
  dialog.showModal();
  field.focus();
}

function recall(times) {
  if (!times) return "Nothing was ever uploaded from this device, so there is nothing out there to recall.";
  const what = times === 1 ? "One change" : `${times} changes`;
  return `${what} of the shared model left this device. What was released with them cannot be taken back; the privacy budget bounds what anybody can learn from it.`;
}
