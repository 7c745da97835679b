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
  const name = past.at(-1)?.figures[0]?.name;
  const quality = name && past.map((one) => ({ round: one.round, value: one.figures.find((figure) => figure.name === name)?.value })).filter((one) => one.value !== undefined);
  const found = [];
  if (quality?.length > 1) found.push(lines(quality, { title: `${name} of the shared model, released under the privacy plan` }));
  if (past.length > 1) found.push(stacked(past.map((one) => ({ round: one.round, parts: one.seconds })), { title: "Seconds a round, by phase" }));
  return found;
}

function table(rounds) {
  // On a phone each row becomes a block; the roles say that it is a row all the same.
  return el("table", { role: "table" }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...HEADS.map((head) => el("th", { scope: "col", role: "columnheader" }, head)))),
    el("tbody", { role: "rowgroup" }, ...rounds.map(row)));
}

function row(one) {
  const quality = one.figures[0];
  const cells = [
    [when(one.finished_at)],
    [answers(one)],
    lost(one),
    [time(one.seconds.reduce((sum, part) => sum + part.seconds, 0))],
    [one.bytes === null ? el("span", { className: "soft" }, "not shown") : bytes(one.bytes)],
    [one.epsilon === null ? "none" : one.epsilon.toFixed(2)],
    [quality ? quality.value.toFixed(4) : "–"],
  ];
  return el("tr", { role: "row", data: { round: one.round } },
    el("th", { scope: "row", role: "rowheader", data: { head: HEADS[0] } }, String(one.round)),
    ...cells.map((cell, place) => el("td", { role: "cell", data: { head: HEADS[place + 1] } }, el("span", {}, ...cell))));
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
  return seconds < 6000 ? `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s` : `${(seconds / 3600).toFixed(1)} h`;
}
