// Elements and words. Every value is set as text or as a property: nothing that comes from outside is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Of `props`, those beginning with `on` are listeners, `class` and `aria-…` attributes; children are nodes or texts. */
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same of SVG. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "at") Object.assign(element.style, value);
    else if (name === "value" || name === "checked" || name === "max") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Puts these in the place of all that `element` holds. */
export function show(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

/** Sets a text only where it changes, so that nothing is read out twice. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A label and its field. */
let labels = 0;
export function field(label, input, hint) {
  const id = `field-${++labels}`;
  input.id = id;
  const note = hint && h("span", { class: "hint", id: `${id}-hint` }, hint);
  if (note) input.setAttribute("aria-describedby", `${id}-hint`);
  return h("p", { class: "field" }, h("label", { for: id }, label), input, note);
}

/** A table: a caption, heads, and rows of cells. What is too wide scrolls, by keyboard too. */
export function table(caption, heads, rows) {
  const head = h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text))));
  const body = h("tbody", {}, rows);
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h("table", {}, h("caption", { class: "unseen" }, caption), head, body));
}

export const cells = (...contents) => contents.map((content) => h("td", {}, content ?? ""));

/** Names and values. */
export function facts(pairs) {
  const known = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, known.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

export function time(ms) {
  if (ms === null || ms === undefined) return "–";
  if (ms >= 10000) return `${(ms / 1000).toFixed(1)} s`;
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  if (ms >= 10) return `${Math.round(ms)} ms`;
  if (ms >= 1) return `${ms.toFixed(1)} ms`;
  return `${Math.round(ms * 1000)} µs`;
}

export function number(value) {
  if (value === null || value === undefined) return "–";
  if (value === 0) return "0";
  if (Math.abs(value) < 10) return String(Math.round(value * 10) / 10);
  return Math.round(value).toLocaleString("en");
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1 << 20) return `${(count / 1024).toFixed(1)} KiB`;
  if (count < 1 << 30) return `${(count / (1 << 20)).toFixed(1)} MiB`;
  return `${(count / (1 << 30)).toFixed(1)} GiB`;
}

const two = (value) => String(value).padStart(2, "0");

/** The time of day, and the date where it is not today. */
export function clock(at, fine = false) {
  const date = new Date(at);
  const day = date.toDateString() === new Date().toDateString() ? "" : `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} `;
  const ms = fine ? `.${String(date.getMilliseconds()).padStart(3, "0")}` : "";
  return `${day}${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}${ms}`;
}

export function ago(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}
