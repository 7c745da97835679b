// Sliders for how lists are made; each counts from the next list on.

import { put } from "./api.js";
import { byId, el, percent } from "./dom.js";

const SLIDERS = [
  ["diversity", "Variety", "Best matches first", "As varied as can be"],
  ["long_tail_share", "Less known", "Whatever fits", "All less known"],
  ["fresh_share", "New", "Whatever fits", "All new"],
];

/** Show the sliders as the settings stand; `changed` makes the list anew. */
export function showSteering(settings, attempt, changed) {
  const [first, ...others] = SLIDERS.map(([name, label, low, high]) => slider(name, label, low, high));
  byId("sliders").replaceChildren(first, el("details", {}, el("summary", {}, "More"), ...others, habits()));

  function habits() {
    const box = el("input", { type: "checkbox", id: "personal-weights", checked: settings.personal_weights });
    box.addEventListener("change", () => attempt(async () => {
      await put("/v1/settings", { personal_weights: box.checked });
      await changed();
    }));
    return el("label", { className: "check" }, box, " Learn my habits, on this device only");
  }

  function slider(name, label, low, high) {
    const shown = el("output", { htmlFor: name }, percent(settings[name]));
    const input = el("input", { type: "range", id: name, min: 0, max: 1, step: 0.05, value: settings[name],
      aria: { valuetext: percent(settings[name]) } });
    input.addEventListener("input", () => {
      shown.textContent = percent(input.valueAsNumber);
      input.setAttribute("aria-valuetext", shown.textContent);
    });
    input.addEventListener("change", () => attempt(async () => {
      await put("/v1/settings", { [name]: input.valueAsNumber });
      await changed();
    }));
    return el("div", { className: "slider" },
      el("label", { htmlFor: name }, label), shown, input,
      el("span", { className: "ends", aria: { hidden: "true" } }, el("span", {}, low), el("span", {}, high)));
  }
}
