// The stream of what changes. EventSource cannot send a session's secret, so the stream is read by hand.

import { headers } from "./api.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15000;
// The console gives a sign of life every 15 seconds.
const SILENCE = 45000;

/** Follow the stream until the session is over, or `left` says so. told: functions by event, and `lost` and `out`. */
export async function follow(told, left) {
  let pause = FIRST_PAUSE;
  while (!left.aborted) {
    const stop = new AbortController();
    left.addEventListener("abort", () => stop.abort(), { signal: stop.signal });
    try {
      const answer = await fetch("/console/v1/live", { headers: headers("text/event-stream"), signal: stop.signal, redirect: "error" });
      if (answer.status === 401 || answer.status === 403) {
        told.out();
        return;
      }
      if (answer.ok) {
        await read(answer.body, stop, (name, content) => {
          pause = FIRST_PAUSE;
          told[name]?.(content);
        });
      }
    } catch {
      // It broke off: said below, and tried again.
    }
    stop.abort();
    if (left.aborted) return;
    told.lost();
    await new Promise((resume) => setTimeout(resume, pause));
    pause = Math.min(2 * pause, LONGEST_PAUSE);
  }
}

/** Hand on every event of a stream, until it ends or is silent for too long. */
async function read(stream, stop, tell) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const silent = setTimeout(() => stop.abort(), SILENCE);
    const { done, value } = await reader.read().finally(() => clearTimeout(silent));
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const fields = Object.fromEntries(event.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
      tell(fields.event, JSON.parse(fields.data));
    }
  }
}
