// What taking part has spent, what left the device, and the switch that decides about it.

import { get, post, put } from "./api.js";
import { announce, button, byId, bytes, el, when } from "./dom.js";

const CONDITIONS = [
  ["idle", "nobody uses the device"],
  ["charging", "it charges"],
  ["unmetered", "the network costs nothing"],
];
const PAUSES = [[24, "a day"], [168, "a week"], [720, "a month"]];

/** Show the whole panel. */
export async function showPrivacy(attempt) {
  const [privacy, part] = await Promise.all([get("/v1/privacy"), get("/v1/participation")]);
  byId("spent").replaceChildren(...spent(privacy));
  byId("uploads").replaceChildren(uploads(privacy.uploads));
  const place = document.activeElement?.id;
  byId("participation").replaceChildren(...participation(part, attempt));
  if (place && byId("participation").querySelector(`#${CSS.escape(place)}`)) byId(place).focus();
}

function spent(privacy) {
  if (!privacy.participations && !privacy.epsilon) return [el("p", { className: "verdict" }, privacy.words)];
  const number = el("p", { className: "figure" }, `${privacy.exact ? "" : "≤ "}${privacy.epsilon.toFixed(2)}`,
    el("small", {}, privacy.budget === null ? "epsilon spent" : `of ${privacy.budget.toFixed(2)} epsilon spent`));
  const meter = privacy.budget && el("div", { className: "budget", role: "meter",
    aria: { label: "Privacy budget spent", valuemin: 0, valuemax: privacy.budget, valuenow: Math.min(privacy.epsilon, privacy.budget),
      valuetext: `${privacy.epsilon.toFixed(2)} of ${privacy.budget.toFixed(2)}` } }, fill(privacy.epsilon / privacy.budget));
  const times = privacy.participations === 1 ? "1 contribution" : `${privacy.participations} contributions`;
  const cap = privacy.cap === null ? "" : ` of at most ${privacy.cap}`;
  const facts = [`${times}${cap}`, `delta ${privacy.delta.toExponential(0)}`, privacy.unit && `per ${privacy.unit}`].filter(Boolean);
  return [number, meter || "", el("p", {}, privacy.words), el("p", { className: "note" }, `${facts.join(" · ")}. Erasing does not fill the budget up again.`)];
}

function fill(share) {
  const made = el("span", {});
  made.style.width = `${Math.min(100, share * 100)}%`;
  return made;
}

function uploads(all) {
  if (!all.length) return el("p", { className: "note" }, "Nothing has ever been uploaded.");
  const [last, ...before] = all;
  const line = (one) => [`${one.kind}, ${bytes(one.bytes)}, round ${one.round}, `, when(one.time)];
  return el("div", {}, el("p", {}, el("strong", {}, "Last upload: "), ...line(last)),
    before.length ? el("details", {}, el("summary", {}, "Earlier uploads"), el("ul", { className: "plain" }, ...before.map((one) => el("li", {}, ...line(one))))) : null);
}

function participation(part, attempt) {
  const change = (body, words) => attempt(async () => {
    await put("/v1/participation", body);
    await showPrivacy(attempt);
    announce(words);
  });
  const conditions = () => Object.fromEntries(CONDITIONS.map(([name]) => [name, byId(`only-${name}`).checked]));
  const toggle = el("input", { type: "checkbox", id: "take-part", checked: part.on, disabled: !part.on && !part.possible,
    role: "switch", aria: { describedby: "take-part-note" } });
  toggle.addEventListener("change", () =>
    change({ on: toggle.checked, ...conditions() }, toggle.checked ? "This device takes part." : "This device takes no part."));
  const boxes = CONDITIONS.map(([name, words]) => {
    const box = el("input", { type: "checkbox", id: `only-${name}`, checked: part[name] });
    box.addEventListener("change", () => change({ on: part.on, ...conditions() }, "Condition changed."));
    return el("li", {}, el("label", {}, box, ` ${words}`));
  });
  return [
    el("label", { className: "switch" }, toggle, el("span", {}, "Help to improve the recommendations")),
    el("p", { className: "note", id: "take-part-note" }, note(part)),
    el("fieldset", { className: "only" }, el("legend", {}, "Only while"), el("ul", { className: "plain" }, ...boxes)),
    part.on && part.changed ? agreeing(part, change, conditions) : "",
    part.on ? pausing(part, attempt, change, conditions) : "",
  ];
}

function agreeing(part, change, conditions) {
  const words = part.possible
    ? "The rules have changed since you agreed. Nothing is sent until you agree again."
    : "The release in use was trained without privacy. Nothing is sent under it.";
  const again = button({ id: "agree" }, () => change({ on: true, agree: true, ...conditions() }, "Agreed."), "Agree again");
  return el("div", { className: "row", role: "status" }, el("p", {}, words), part.possible ? again : "");
}

function note(part) {
  if (part.on) return `${part.words} Never an event, never a title.`;
  if (!part.possible) return "Off. This release was trained without privacy, so there is nothing to take part in.";
  return `Off: nothing leaves this device, and recommendations work all the same. If turned on: ${lower(part.words)}`;
}

const lower = (words) => words.charAt(0).toLowerCase() + words.slice(1);

function pausing(part, attempt, change, conditions) {
  const pause = async (hours) => attempt(async () => {
    await post("/v1/participation/pause", { hours });
    await showPrivacy(attempt);
    announce(hours ? "Taking part is paused." : "Taking part goes on.");
  });
  const out = button({ id: "opt-out", className: "danger" }, () => change({ on: false, ...conditions() }, "This device takes no part."), "Opt out");
  if (part.paused_until !== null)
    return el("div", { className: "row" }, el("p", {}, "Paused; goes on ", when(part.paused_until), "."), button({ id: "resume" }, () => pause(0), "Go on now"), out);
  const choice = el("select", { id: "pause-for", aria: { label: "Pause for" } }, ...PAUSES.map(([hours, words]) => el("option", { value: hours }, words)));
  return el("div", { className: "row" }, button({ id: "pause" }, () => pause(Number(choice.value)), "Pause for"), choice, out);
}
