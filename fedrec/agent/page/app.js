// Opens the page, and keeps its parts telling the same story.

import { enterByLink, get, isIn, Refused } from "./api.js";
import { byId } from "./dom.js";
import { showInterests } from "./interests.js";
import { onChange, showList } from "./list.js";
import { dataButtons, showKeeping } from "./mydata.js";
import { showPrivacy } from "./privacy.js";
import { searchBox, showContext } from "./search.js";
import { showSteering } from "./steer.js";
import { toast } from "./toast.js";

/** Do something that may be refused, and say so where the person looks. */
async function attempt(work) {
  try {
    await work();
  } catch (error) {
    refused(error);
  }
}

function refused(error) {
  if (!(error instanceof Refused)) throw error;
  if ([0, 401, 403].includes(error.status)) close(error.message);
  else toast(error.message, { error: true });
}

function close(why) {
  byId("open").hidden = true;
  byId("closed").hidden = false;
  byId("closed-why").textContent = why;
}

async function changed() {
  const [, , live] = await Promise.all([showList(), showInterests(changed), showContext()]);
  byId("headline").textContent = headline(live.events);
}

const headline = (events) =>
  events
    ? `Chosen on this device from ${events === 1 ? "one event" : `${events.toLocaleString()} events`} that never leave it.`
    : "Chosen on this device. Nothing that you do here leaves it.";

async function everything() {
  await Promise.all([
    changed(),
    showPrivacy(attempt),
    showKeeping(attempt, changed),
    get("/v1/settings").then((settings) => showSteering(settings, attempt, changed)),
  ]);
}

async function start() {
  await enterByLink();
  if (!isIn()) {
    close("Its address works once, so that nobody else can open it.");
    return;
  }
  byId("open").hidden = false;
  onChange(changed);
  searchBox((await get("/v1/release")).reads_texts, attempt);
  dataButtons(attempt, everything);
  await everything();
}

// What a button's work could not do ends here: nothing fails in silence.
addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof Refused)) return;
  event.preventDefault();
  refused(event.reason);
});
attempt(start);
