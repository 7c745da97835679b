// Releases: what they were made from, how good they are, which one devices are told to use.

import { post } from "./api.js";
import { askWhy } from "./asking.js";
import { button, byId, bytes, el, when } from "./dom.js";

const LINEAGE = { ledger_head: "ledger up to", base_model: "base model", encoder: "text encoder", index: "item index", layout: "adapter layout" };
const BASIS = { public: "on public data", released: "released under the privacy plan" };

/** Show the releases of a catalogue, the latest first. done: told what was done. */
export function showReleases(catalogue, done) {
  const at = document.activeElement?.id;
  const opened = new Set([...document.querySelectorAll("#releases-list details[open]")].map((one) => one.dataset.release));
  const cards = catalogue.releases.map((release) => card(release, catalogue, done));
  byId("releases-list").replaceChildren(...(cards.length ? [el("ul", { className: "releases" }, ...cards)] : [el("p", { className: "note" }, "None yet: the first one comes before the first round.")]));
  for (const one of document.querySelectorAll("#releases-list details")) one.open = opened.has(one.dataset.release);
  if (at && byId("releases-list").querySelector(`#${CSS.escape(at)}`)) byId(at).focus();
}

function card(release, catalogue, done) {
  const figures = release.figures.map((figure) => `${figure.name} ${figure.value.toFixed(4)}${figure.noise ? ` ± ${figure.noise.toFixed(4)}` : ""} ${BASIS[figure.basis] ?? ""}`);
  return el("li", { className: release.in_use ? "release used" : "release", data: { release: release.manifest_hash } },
    el("div", { className: "head" },
      el("h3", {}, `Round ${release.round}`, " ", el("code", {}, release.id)),
      release.in_use ? el("span", { className: "pill", data: { phase: "used" } }, "in use") : actions(release, catalogue, done)),
    el("p", { className: "note" }, "Published ", when(release.published_at), ` · ${bytes(release.new_bytes)} to fetch, ${bytes(release.bytes)} in all`),
    figures.length ? el("p", {}, figures.join(" · ")) : null,
    el("details", { data: { release: release.manifest_hash } }, el("summary", {}, "What it was made from"), lineage(release)));
}

function lineage(release) {
  const rows = [["privacy", release.privacy], ["run", release.run], ...release.lineage.map((made) => [LINEAGE[made.name] ?? made.name, made.value]), ["manifest", release.manifest_hash]];
  return el("dl", { className: "lineage" }, ...rows.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function actions(release, catalogue, done) {
  const { name, in_use: used } = catalogue.line;
  const path = `/console/v1/catalogues/${name}`;
  const serial = used?.serial ?? 0;
  const promote = button({ id: `use-${release.id}` }, () => askWhy({
    title: `Use round ${release.round} of ${name}?`, label: "Put into use",
    words: `Devices are told to fetch release ${release.id} and to use it from now on. ${used ? `They use round ${used.round} now.` : ""}`,
    go: async (reason) => done((await post(`${path}/promote`, { release: release.manifest_hash, serial, reason })).said) }), "Put into use…");
  if (!release.back) return promote;
  const back = button({ id: "roll-back", className: "danger" }, () => askWhy({
    title: `Roll ${name} back to round ${release.round}?`, label: "Roll back", danger: true,
    words: `Devices are told to go back from round ${used.round} to release ${release.id}. What round ${used.round} spent stays spent.`,
    go: async (reason) => done((await post(`${path}/rollback`, { serial, reason })).said) }), "Roll back…");
  return back;
}
