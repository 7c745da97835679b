// The groups of tastes that the device found: to see, to name, to mute.

import { get, post, put } from "./api.js";
import { announce, bar, button, byId, el, percent } from "./dom.js";

/** Show the interests; `changed` makes the list anew. */
export async function showInterests(changed) {
  const profile = await get("/v1/profile");
  const place = document.activeElement?.closest?.("#clusters li")?.dataset.cluster;
  byId("clusters").replaceChildren(...profile.clusters.map((cluster) => interest(cluster, changed)));
  if (!profile.clusters.length)
    byId("clusters").append(el("li", { className: "note" }, "None yet: they appear with the first things that you do."));
  byId("turned-away").replaceChildren(...turnedAway(profile, changed));
  if (place !== undefined) document.querySelector(`#clusters li[data-cluster="${place}"] .mute`)?.focus();
}

function turnedAway(profile, changed) {
  const row = (what, name) => el("li", {}, el("span", { className: "because" }, name),
    button({ className: "quiet", aria: { label: `Let ${name} in again` } }, async () => {
      await post("/v1/profile/let-in", { [what]: name });
      await changed();
      announce(`${name} may come again.`);
    }, "Let in"));
  const rows = [...profile.muted_topics.map((name) => row("topic", name)), ...profile.blocked_providers.map((name) => row("provider", name))];
  if (!rows.length) return [];
  return [el("h3", {}, "Turned away"), el("ul", { className: "found" }, ...rows)];
}

function interest(cluster, changed) {
  const row = el("li", { className: cluster.muted ? "muted" : "", data: { cluster: cluster.id } });
  const change = async (what, words) => {
    await put(`/v1/profile/clusters/${cluster.id}`, what);
    await changed();
    announce(words);
  };
  const mute = button({ className: "quiet mute", aria: { pressed: String(cluster.muted), label: `Mute ${cluster.name}` } },
    () => change({ muted: !cluster.muted }, cluster.muted ? `${cluster.name} is back.` : `${cluster.name} is muted.`),
    cluster.muted ? "Muted" : "Mute");
  const rename = button({ className: "quiet rename", aria: { label: `Rename ${cluster.name}` } },
    () => edit(row, cluster, (name) => change({ name }, name ? `Now called ${name}.` : "It has its automatic name again.")), "Rename");
  row.append(
    el("div", { className: "head" }, el("strong", { className: "name" }, cluster.name), el("span", { className: "share" }, percent(cluster.share))),
    bar(cluster.share),
    el("p", { className: "note" }, cluster.examples.join(" · ")),
    el("div", { className: "row" }, mute, rename));
  return row;
}

/** Turn a name into a field; Enter keeps what was written, Escape leaves it as it was. */
function edit(row, cluster, keep) {
  const before = [...row.children];
  const field = el("input", { type: "text", value: cluster.name, maxLength: 60, placeholder: "Empty: the automatic name",
    aria: { label: `New name for ${cluster.name}` } });
  const back = () => { row.replaceChildren(...before); row.querySelector(".rename").focus(); };
  const done = button({ className: "strong" }, () => keep(field.value.trim()), "Keep");
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") done.click();
    if (event.key === "Escape") back();
  });
  row.replaceChildren(field, el("div", { className: "row" }, done, button({ className: "quiet" }, back, "Leave")));
  field.select();
}
