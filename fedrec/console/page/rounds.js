// Finished rounds: who was asked and answered, what went wrong, how long it took, what came of it.

import { lines, stacked } from "./chart.js";
import { button, byId, bytes, el, when } from "./dom.js";

const FIRST = 8;
const HEADS = ["Round", "Finished", "Answers", "Not counted", "Time", "Traffic", "Epsilon", "Quality"];
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
  const name = best(past.at(-1))?.name;
  const quality = past.map((one) => ({ round: one.round, ...one.figures.find((figure) => figure.name === name) })).filter((one) => one.value !== undefined);
  const found = [];
  if (quality.length > 1) found.push(lines(quality, { title: `${name}, released under the privacy plan; bars are the noise on it` }));
  if (past.length > 1) found.push(stacked(past.map((one) => ({ round: one.round, parts: one.seconds })), { title: "Seconds a round, by phase" }));
  return found;
}

/** The figure that people look at first: a hit rate or the like, not a loss. */
const best = (one) => one?.figures.find((figure) => figure.name.includes("@")) ?? one?.figures[0];

function table(rounds) {
  // On a phone each row becomes a block; the roles say that it is a row all the same.
  return el("table", { role: "table" }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...HEADS.map((head) => el("th", { scope: "col", role: "columnheader" }, head)))),
    el("tbody", { role: "rowgroup" }, ...rounds.map(row)));
}

function row(one) {
  const quality = best(one);
  const cells = [
    [when(one.finished_at)],
    [answers(one)],
    lost(one),
    [time(one.seconds.reduce((sum, part) => sum + part.seconds, 0))],
    [one.bytes === null ? el("span", { className: "soft" }, "not shown") : bytes(one.bytes)],
    [one.epsilon === null ? "none" : one.epsilon.toFixed(2)],
    quality ? [quality.value.toFixed(3), quality.noise ? el("small", {}, ` ± ${quality.noise.toFixed(3)}`) : ""] : ["–"],
  ];
  return el("tr", { role: "row", data: { round: one.round } },
    el("th", { scope: "row", role: "rowheader", data: { head: HEADS[0] } }, String(one.round)),
    ...cells.map((cell, place) => el("td", { role: "cell", data: { head: HEADS[place + 1] } }, el("span", {}, ...cell))));
}

function answers(one) {
  if (one.replies.words === "not shown") return `not shown, of ${one.asked.words}`;
  const certain = one.replies.value === null && one.replies.at_least ? `≥ ${one.replies.at_least.toLocaleString()}` : one.replies.words;
  return `${certain} of ${one.asked.words}`;
}

function lost(one) {
  if (one.failures === null) return [el("span", { className: "soft" }, "not shown")];
  const reasons = [...one.failures.map((failed) => `${failed.devices.words} × ${failed.words}`), ...one.faults];
  return reasons.length ? reasons.map((reason) => el("div", {}, reason)) : ["none"];
}

/** Seconds as people say them. */
export function time(seconds) {
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  return seconds < 6000 ? `${Math.round(seconds / 6) / 10} min` : `${(seconds / 3600).toFixed(1)} h`;
}
