// The round under way, and the switches of the rounds.

import { post } from "./api.js";
import { askWhy } from "./asking.js";
import { announce, button, byId, el, when } from "./dom.js";

const PHASES = { waiting: "waiting", asking: "asking", noising: "adding noise", publishing: "publishing", paused: "paused", stopped: "stopped", done: "done", failed: "failed" };
const WISHES = { pause: "A pause is wished: the round under way ends as it would. ", stop: "A stop is wished: the round under way ends, then the rounds do. " };

/** Show how a catalogue stands. done: told what was done. */
export function showNow(line, done) {
  const now = line.now;
  const title = now ? now.title : "No round has begun yet";
  // Only what changes by itself is announced: not each device that comes, and not the first look.
  if (byId("phase").dataset.phase && byId("phase").dataset.phase !== (now?.phase ?? "none")) announce(title);
  byId("now-title").textContent = title;
  byId("phase").textContent = now ? PHASES[now.phase] ?? now.phase : "not begun";
  byId("phase").dataset.phase = now?.phase ?? "none";
  byId("progress").replaceChildren(...(now ? progress(now) : []));
  byId("now-note").replaceChildren(...note(line));
  const alarm = now?.quiet ? "Nothing was heard of these rounds for more than five minutes. See that the service runs, and its logs." : now?.phase === "failed" ? now.detail : "";
  byId("now-alarm").textContent = alarm;
  byId("now-alarm").hidden = !alarm;
  const at = document.activeElement?.id;
  byId("controls").replaceChildren(...controls(line, done));
  if (at && byId("controls").querySelector(`#${CSS.escape(at)}`)) byId(at).focus();
}

/** How far waiting or asking is; nothing where a number would tell too much. */
function progress(now) {
  const count = now.phase === "waiting" ? now.connected : now.phase === "asking" ? now.replies : null;
  if (!count || !now.needed || (count.value === null && !count.at_least)) return [];
  const share = Math.min(1, count.at_least / now.needed);
  const fill = el("span", {});
  fill.style.width = `${share * 100}%`;
  return [el("div", { className: "budget", role: "meter", aria: { label: now.phase === "waiting" ? "Devices that are there" : "Answers",
    valuemin: 0, valuemax: now.needed, valuenow: Math.min(count.at_least, now.needed), valuetext: `${count.words} of ${now.needed}` } }, fill)];
}

function note(line) {
  const { now, wished } = line;
  if (!now) return ["Rounds begin when the service runs and enough devices are enrolled."];
  const parts = [`Round ${now.round} of ${now.rounds}`, el("span", {}, "since ", when(now.since)), el("span", {}, "last heard of ", when(now.updated_at))];
  if (now.detail && now.phase !== "failed") parts.push(now.detail);
  const wish = wished.wish !== "run" && !["paused", "stopped"].includes(now.phase) ? WISHES[wished.wish] : "";
  const by = wished.wish === "run" ? [] : [el("br"), `${wish}By ${wished.by}: “${wished.reason}”`];
  return [...parts.flatMap((part, place) => (place ? [" · ", part] : [part])), ...by];
}

function controls(line, done) {
  const act = (path, body) => async (reason) => done((await post(`/console/v1/catalogues/${line.name}/${path}`, { reason, ...body })).said);
  const pause = button({ id: "pause" }, () => askWhy({ title: `Pause ${line.name}?`, label: "Pause", go: act("pause"),
    words: "The round under way ends as it would, and no other begins until you resume. Devices go on using the release that they have." }), "Pause…");
  const resume = button({ id: "resume", className: "strong" }, () => askWhy({ title: `Resume ${line.name}?`, label: "Resume", go: act("resume"),
    words: "Rounds begin again, as soon as enough devices are there." }), line.wished.wish === "stop" ? "Start again…" : "Resume…");
  const stop = button({ id: "stop", className: "danger" }, () => askWhy({ title: `Stop ${line.name}?`, label: "Stop the rounds", danger: true, confirm: line.name,
    go: act("stop", { confirm: line.name }), words: "The round under way ends, then the rounds of this catalogue do. What was spent stays spent; releases stay." }), "Stop…");
  return { run: [pause, stop], pause: [resume, stop], stop: [resume] }[line.wished.wish];
}
