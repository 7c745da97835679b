// Small words for making elements. Text goes in as text: a title is never read as markup.

const SVG = "http://www.w3.org/2000/svg";
const PATHS = {
  like: "M12 20s-7-4.400-7-9.700A4 4 0 0 1 12 7.600a4 4 0 0 1 7 2.700C19 15.600 12 20 12 20z",
  save: "M7 4h10v16l-5-4-5 4z",
  skip: "M5 5l8 7-8 7zM17 5v14",
  why: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18M9.500 9.600a2.500 2.500 0 1 1 3.700 2.200c-.800.500-1.200 1-1.200 1.900M12 17v.100",
  more: "M6 12h.100M12 12h.100M18 12h.100",
  close: "M6 6l12 12M18 6L6 18",
};

/** An element. props: DOM properties; `aria` and `data` are maps; `on` maps events to functions. */
export function el(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
    else if (name === "aria") for (const [key, said] of Object.entries(value)) made.setAttribute(`aria-${key}`, said);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name === "role") made.setAttribute("role", value);
    else made[name] = value;
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** A drawing that says nothing to a screen reader: a word stands beside it. */
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  drawing.setAttribute("viewBox", "0 0 24 24");
  drawing.setAttribute("aria-hidden", "true");
  drawing.setAttribute("class", `icon icon-${name}`);
  path.setAttribute("d", PATHS[name]);
  drawing.append(path);
  return drawing;
}

export const byId = (id) => document.getElementById(id);

/** A button that cannot be pressed again while what it does is under way. */
export function button(props, work, ...children) {
  const made = el("button", { type: "button", ...props }, ...children);
  made.addEventListener("click", async () => {
    if (made.getAttribute("aria-busy") === "true") return;
    made.setAttribute("aria-busy", "true");
    try {
      await work(made);
    } finally {
      made.removeAttribute("aria-busy");
    }
  });
  return made;
}

/** A bar as long as a share from 0 to 1; the number beside it is for everybody. */
export function bar(share, { against = false } = {}) {
  const fill = el("span", { className: "fill" });
  fill.style.width = `${Math.max(1, Math.min(100, share * 100))}%`;
  return el("span", { className: against ? "bar against" : "bar", aria: { hidden: "true" } }, fill);
}

export const percent = (share) => (share > 0 && share < 0.005 ? "<1%" : `${Math.round(share * 100)}%`);

/** "3 minutes ago", with the full date at hand. */
export function when(seconds) {
  const apart = seconds - Date.now() / 1000;
  const steps = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]];
  const [unit, length] = steps.find(([, size]) => Math.abs(apart) >= size) ?? ["second", 1];
  const words =
    unit === "second"
      ? "just now"
      : new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.trunc(apart / length), unit);
  const at = new Date(seconds * 1000);
  const known = !Number.isNaN(at.getTime());
  return el("time", { dateTime: known ? at.toISOString() : "", title: known ? at.toLocaleString() : "" }, words);
}

/** Bytes as people say them. */
export function bytes(count) {
  if (count < 1000) return `${count} bytes`;
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}

/** Say something to those who do not see that the page changed. */
export function announce(words) {
  byId("said").textContent = words;
}
