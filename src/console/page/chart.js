// Charts of the last 15 minutes, and stacked bars. Each says in words what it shows.

import { clock, h, svg } from "./dom.js";

/** Seconds that are shown. */
const SPAN = 900;
const [WIDTH, HEIGHT] = [900, 100];

/**
 * Lines over time. `lines` have a name, a class and a function from a point to a number or null; `write` makes text of a number.
 */
export function chart({ title, points, lines, write, area = false }) {
  const end = points.at(-1)?.at ?? Date.now() / 1000;
  const values = points.flatMap((point) => lines.map((line) => line.of(point))).filter((value) => value !== null && value !== undefined);
  const most = nice(Math.max(...values, 0));
  const drawn = lines.map((line) => draw(line, points, end, most, area));
  const now = lines.map((line) => `${line.name} ${write(line.of(points.at(-1) ?? {}) ?? null)}`).join(", ");
  const label = `${title}, last 15 minutes. Now: ${now}. Most: ${write(values.length ? Math.max(...values) : null)}.`;
  const grid = [0.25, 0.5, 0.75].map((part) => svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part }));
  const legend = lines.length > 1 && h("ul", { class: "legend" }, lines.map((line) => h("li", {}, h("span", { class: `key ${line.class}` }), line.name)));
  return h("figure", { class: "chart" },
    h("figcaption", {}, title, legend),
    h("div", { class: "plot" },
      svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label }, grid, drawn),
      h("span", { class: "most", "aria-hidden": "true" }, write(most))),
    h("p", { class: "axis", "aria-hidden": "true" }, h("span", {}, clock((end - SPAN) * 1000).slice(0, -3)), h("span", {}, clock(end * 1000).slice(0, -3))));
}

function draw(line, points, end, most, area) {
  const runs = [[]];
  for (const point of points) {
    const value = line.of(point);
    // Where there was nothing, there is a gap.
    if (value === null || value === undefined) runs.push([]);
    else runs.at(-1).push([WIDTH - ((end - point.at) / SPAN) * WIDTH, HEIGHT - (value / most) * (HEIGHT - 4)]);
  }
  return runs.filter((run) => run.length).map((run) => {
    const [first] = run;
    // A single point is a short line, or it would not be seen.
    const all = run.length > 1 ? run : [[first[0] - 1, first[1]], first];
    const path = all.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    const under = area && svg("path", { class: `area ${line.class}`, d: `${path}L${all.at(-1)[0].toFixed(1)} ${HEIGHT}L${all[0][0].toFixed(1)} ${HEIGHT}Z` });
    return [under, svg("path", { class: `line ${line.class}`, d: path })];
  });
}

/** The next number that reads well. */
function nice(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value);
}

/** Parts of a whole, one after the other: `parts` have a class and a value. Its numbers stand beside it. */
export function stacked(parts, label) {
  const all = parts.reduce((sum, part) => sum + part.value, 0) || 1;
  const pieces = parts.map((part) => h("span", { class: `piece ${part.class}`, at: { flexGrow: String(part.value / all) } }));
  return h("div", { class: "stacked", role: "img", "aria-label": label }, pieces);
}
