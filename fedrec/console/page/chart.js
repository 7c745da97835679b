// Two small charts, drawn here: a page of an operator loads nothing from elsewhere. Their numbers stand in the table.

import { el } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 360;
const HEIGHT = 120;
const LEFT = 44;
const BOTTOM = 20;
const TOP = 8;

/** A line through the values of rounds, with a bar for the noise on each. */
export function lines(points, { title }) {
  const ends = points.flatMap((point) => [point.value - (point.noise ?? 0), point.value + (point.noise ?? 0)]);
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  const x = across(points);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (high > low ? (value - low) / (high - low) : 0.5));
  const path = points.map((point, place) => `${place ? "L" : "M"}${x(place).toFixed(1)} ${y(point.value).toFixed(1)}`).join("");
  return figure(title, [
    ...scale([[high, y(high)], [low, y(low)]].slice(0, high > low ? 2 : 1), (value) => value.toFixed(3)),
    ...rounds(points, x),
    ...points.filter((point) => point.noise).map((point) => draw("line", { x1: x(points.indexOf(point)), x2: x(points.indexOf(point)), y1: y(point.value - point.noise), y2: y(point.value + point.noise), class: "noise" })),
    draw("path", { d: path, class: "line" }),
    ...points.map((point, place) => draw("circle", { cx: x(place), cy: y(point.value), r: 3, class: "point" }, `round ${point.round}: ${point.value.toFixed(4)}`)),
  ]);
}

/** A column for each round, stacked from its parts. */
export function stacked(columns, { title }) {
  const totals = columns.map((column) => column.parts.reduce((sum, part) => sum + part.seconds, 0));
  const high = Math.max(...totals, 1e-9);
  const phases = [...new Set(columns.flatMap((column) => column.parts.map((part) => part.phase)))];
  const x = across(columns);
  const wide = Math.min(26, ((WIDTH - LEFT) / columns.length) * 0.7);
  const tall = (seconds) => ((HEIGHT - TOP - BOTTOM) * seconds) / high;
  const bars = columns.flatMap((column, place) => {
    let under = HEIGHT - BOTTOM;
    return column.parts.map((part) => {
      under -= tall(part.seconds);
      return draw("rect", { x: x(place) - wide / 2, y: under, width: wide, height: Math.max(0, tall(part.seconds)), class: `part part-${phases.indexOf(part.phase)}` },
        `round ${column.round}: ${part.phase} ${part.seconds.toFixed(1)} s`);
    });
  });
  const key = el("ul", { className: "key" }, ...phases.map((phase, place) => el("li", {}, el("span", { className: `swatch part-${place}` }), phase)));
  return figure(title, [...scale([[high, TOP], [0, HEIGHT - BOTTOM]], (value) => value.toFixed(0)), ...rounds(columns, x), ...bars], key);
}

const across = (points) => (place) => LEFT + ((WIDTH - LEFT - 14) * (place + 0.5)) / points.length;

function scale(marks, words) {
  return marks.flatMap(([value, at]) => [draw("line", { x1: LEFT - 4, x2: WIDTH, y1: at, y2: at, class: "grid" }), label(LEFT - 8, at + 4, words(value), "end")]);
}

/** The first and the last round under the axis. */
function rounds(points, x) {
  const ends = [...new Set([0, points.length - 1])];
  return ends.map((place) => label(x(place), HEIGHT - 5, String(points[place].round), "middle"));
}

function label(x, y, words, anchor) {
  const made = draw("text", { x, y, "text-anchor": anchor });
  made.textContent = words;
  return made;
}

function draw(tag, attributes, title) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (title) {
    const said = document.createElementNS(SVG, "title");
    said.textContent = title;
    made.append(said);
  }
  return made;
}

function figure(title, parts, key) {
  const drawing = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", "aria-hidden": "true" });
  drawing.append(...parts);
  return el("figure", {}, el("figcaption", {}, title), drawing, key);
}
