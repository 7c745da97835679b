// Finished rounds: who was asked and answered, what went wrong, how long it took, what came of it.

import { lines, stacked } from "./chart.js";
import { button, byId, bytes, el, when } from "./dom.js";

const FIRST = 8;
let all = false;

/** Show the rounds of a catalogue, the latest first. */
export function showRounds(rounds, smallest) {
  byId("charts").replaceChildren(...charts(rounds));
  const shown = all ? rounds : rounds.slice(0, FIRST);
  byId("rounds-table").hidden = !rounds.length;
  byId("rounds-table").replaceChildren(table(shown));
  const more = rounds.length > shown.length && button({ id: "all-rounds", className: "quiet" }, () => { all = true; showRounds(rounds, smallest); }, `Show all ${rounds.length}`);
  const words = rounds.length ? `Groups of fewer than ${smallest} devices are not counted out, nor what would tell them by subtracting.` : "None yet.";
  byId("rounds-note").replaceChildren(words, more ? " " : "", more || "");
}

/** Everything anew for another catalogue. */
export function forgetRounds() {
  all = false;
}

function charts(rounds) {
  const past = [...rounds].reverse();
  const name = past.at(-1)?.figures[0]?.name;
  const quality = name && past.map((one) => ({ round: one.round, value: one.figures.find((figure) => figure.name === name)?.value })).filter((one) => one.value !== undefined);
  const found = [];
  if (quality?.length > 1) found.push(lines(quality, { title: `${name} of the shared model, released under the privacy plan` }));
  if (past.length > 1) found.push(stacked(past.map((one) => ({ round: one.round, parts: one.seconds })), { title: "Seconds a round, by phase" }));
  return found;
}

function table(rounds) {
  const heads = ["Round", "Finished", "Answers", "Not counted", "Time", "Traffic", "Epsilon", "Quality"];
  return el("table", {}, el("thead", {}, el("tr", {}, ...heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, ...rounds.map(row)));
}

function row(one) {
  const quality = one.figures[0];
  return el("tr", { data: { round: one.round } },
    el("th", { scope: "row" }, String(one.round)),
    el("td", {}, when(one.finished_at)),
    el("td", {}, answers(one)),
    el("td", {}, ...lost(one)),
    el("td", {}, time(one.seconds.reduce((sum, part) => sum + part.seconds, 0))),
    el("td", {}, one.bytes === null ? el("span", { className: "soft" }, "not shown") : bytes(one.bytes)),
    el("td", {}, one.epsilon === null ? "none" : one.epsilon.toFixed(2)),
    el("td", {}, quality ? `${quality.value.toFixed(4)}` : "–"));
}

const answers = (one) => (one.replies.words === "not shown" ? `of ${one.asked.words}` : `${one.replies.words} of ${one.asked.words}`);

function lost(one) {
  if (one.failures === null) return [el("span", { className: "soft" }, "not shown")];
  const reasons = [...one.failures.map((failed) => `${failed.devices.words} ${failed.words}`), ...one.faults];
  return reasons.length ? reasons.map((reason) => el("div", {}, reason)) : ["none"];
}

/** Seconds as people say them. */
export function time(seconds) {
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 6000 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
