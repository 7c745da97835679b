// Opens the page, follows what changes, and shows one catalogue at a time.

import { enterByLink, enterByToken, forget, get, isIn, post, Refused } from "./api.js";
import { showAside } from "./aside.js";
import { announce, byId, el } from "./dom.js";
import { follow } from "./live.js";
import { showNow } from "./now.js";
import { showReleases } from "./releases.js";
import { forgetRounds, showRounds } from "./rounds.js";
import { toast } from "./toast.js";

let overview = null;
let shown = { name: null, mark: null };
let following = null;

const chosen = () => overview.catalogues.find((line) => line.name === decodeURIComponent(location.hash.slice(1))) ?? overview.catalogues[0];

function close(why) {
  following?.abort();
  forget();
  byId("asking").close();
  for (const id of ["open", "session"]) byId(id).hidden = true;
  byId("closed").hidden = false;
  byId("closed-why").textContent = why;
}

/** What a button's work could not do is said where the operator looks. */
function refused(error) {
  if (!(error instanceof Refused)) throw error;
  if ([401, 403].includes(error.status)) close(error.message);
  else toast(error.message, { error: true });
}

function live(words, is) {
  byId("live-words").textContent = words;
  byId("live").classList.toggle("lost", !is);
}

async function state(told) {
  overview = told;
  live("Live", true);
  await show().catch(refused);
}

/** Draw what is known; ask for the rest where there is more to read. */
async function show() {
  const line = chosen();
  tabs(line);
  byId("none").hidden = Boolean(line);
  byId("catalogue").hidden = !line;
  if (!line) return;
  byId("headline").textContent = headline(line);
  showNow(line, done);
  if (shown.name === line.name && shown.mark === line.mark) return;
  if (shown.name !== line.name) forgetRounds();
  shown = { name: line.name, mark: line.mark };
  await details(line.name);
}

async function details(name) {
  const catalogue = await get(`/console/v1/catalogues/${name}`);
  if (shown.name !== name) return;
  showRounds(catalogue.rounds, overview.smallest_group);
  showReleases(catalogue, done);
  showAside(catalogue, overview.smallest_group);
}

function headline(line) {
  if (!line.in_use) return "No release is in use yet.";
  return `Devices of ${line.name} use round ${line.in_use.round}${overview.promotion === "newest" ? "; each new release is put into use by itself." : "."}`;
}

function tabs(line) {
  byId("catalogues").hidden = overview.catalogues.length < 2;
  const at = document.activeElement?.hash;
  byId("catalogues").replaceChildren(...overview.catalogues.map((one) => el("a", { href: `#${one.name}`, aria: one === line ? { current: "page" } : {} },
    one.name, " ", el("span", { className: "pill", data: { phase: one.now?.phase ?? "none" } }, one.now?.phase ?? "not begun"))));
  if (at) [...byId("catalogues").children].find((link) => link.hash === at)?.focus();
}

async function done(said) {
  toast(said);
  announce(said);
  shown.mark = null;
  overview = await get("/console/v1/overview");
  await show();
}

async function open() {
  overview = await get("/console/v1/overview");
  byId("closed").hidden = true;
  for (const id of ["open", "session"]) byId(id).hidden = false;
  shown = { name: null, mark: null };
  await show();
  following?.abort();
  following = new AbortController();
  follow({ state, beat: () => show().catch(refused), trouble: (said) => live(said.error, false), lost: () => live("Not connected", false), out: () => close("The session is over.") }, following.signal);
}

async function start() {
  await enterByLink();
  if (isIn()) await open();
  else close("");
}

byId("entry").addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = byId("token").value.trim();
  byId("token").value = "";
  await enterByToken(token).then(open).catch(refused);
});
byId("leave").addEventListener("click", async () => {
  await post("/console/v1/leave").catch(() => {});
  close("");
  byId("token").focus();
});
addEventListener("hashchange", () => overview && show().catch(refused));
addEventListener("unhandledrejection", (event) => {
  if (!(event.reason instanceof Refused)) return;
  event.preventDefault();
  refused(event.reason);
});
start().catch(refused);
