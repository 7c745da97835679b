// Beside the rounds: what is spent, how many devices there are, what operators did.

import { byId, el, when } from "./dom.js";

/** Show all three. */
export function showAside(catalogue, smallest) {
  byId("spent").replaceChildren(...spent(catalogue.budget));
  byId("enrolled").replaceChildren(
    el("p", { className: "figure" }, catalogue.devices.words, el("small", {}, "enrolled")),
    el("p", { className: "note" }, `Only their number is shown, and none below ${smallest}. What single devices do is in no page and no metric.`));
  const deeds = catalogue.deeds.map(deed);
  byId("deeds-list").replaceChildren(...(deeds.length ? deeds : [el("li", { className: "note" }, "Nothing yet.")]));
}

function spent(budget) {
  if (budget.fault) return [el("p", { className: "alarm", role: "alert" }, budget.fault), el("p", { className: "note" }, budget.words)];
  if (budget.epsilon === null) return [el("p", { className: "alarm" }, budget.words)];
  const number = el("p", { className: "figure" }, budget.epsilon.toFixed(2),
    el("small", {}, budget.budget === null ? "epsilon spent" : `of ${budget.budget.toFixed(2)} epsilon spent`));
  const warning = budget.guarantee ? null : el("p", { className: "alarm" }, "NOT A DP GUARANTEE: some of the noise can be reproduced.");
  const facts = [budget.left !== null && `${budget.left.toFixed(2)} left`, `delta ${budget.delta.toExponential(0)}`, "of the client that took part most"].filter(Boolean);
  return [number, meter(budget), warning, el("p", {}, budget.words), el("p", { className: "note" }, `${facts.join(" · ")}. The unit is ${budget.unit}.`)].filter(Boolean);
}

function meter(budget) {
  if (!budget.budget) return null;
  const fill = el("span", {});
  fill.style.width = `${Math.min(100, (budget.epsilon / budget.budget) * 100)}%`;
  const planned = el("span", { className: "planned" });
  planned.style.width = `${Math.min(100, (budget.planned / budget.budget) * 100)}%`;
  return el("div", { className: "budget both", role: "meter", aria: { label: "Privacy budget spent", valuemin: 0, valuemax: budget.budget,
    valuenow: Math.min(budget.epsilon, budget.budget), valuetext: `${budget.epsilon.toFixed(2)} of ${budget.budget.toFixed(2)}, ${budget.planned.toFixed(2)} when all rounds are done` } }, planned, fill);
}

function deed(one) {
  return el("li", {},
    el("p", {}, el("strong", {}, one.what), one.release ? " " : "", one.release ? el("code", {}, one.release) : ""),
    one.reason ? el("p", { className: "quote" }, `“${one.reason}”`) : null,
    el("p", { className: "note" }, one.by || "by the rounds", " · ", when(one.at)));
}
