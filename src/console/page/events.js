// What changed, when, and why.

import { get } from "./api.js";
import { cells, clock, field, h, show, table } from "./dom.js";

const KEPT = 500;

export function events(place, app) {
  let all = [];
  const kinds = h("select", { onchange: draw });
  const list = h("div");
  show(place, h("p", { class: "lead" }, "Restarts, rebalances, breakers, pauses, elections and reloads, the newest first."),
    field("Kind", kinds), list);

  function draw() {
    const named = [...new Set(all.map((event) => event.kind))].sort();
    const chosen = kinds.value;
    show(kinds, h("option", { value: "" }, "all"), named.map((kind) => h("option", { value: kind }, kind)));
    kinds.value = named.includes(chosen) ? chosen : "";
    const shown = all.filter((event) => !kinds.value || event.kind === kinds.value);
    if (!shown.length) return show(list, h("p", { class: "none" }, "Nothing has changed since this process began."));
    show(list, table("Events", ["Time", "Level", "Kind", "What happened"], shown.map(row)));
  }

  function row(event) {
    const details = event.fields.map(([name, value]) => h("span", { class: "pair" }, `${name}=${value}`));
    return h("tr", {}, cells(clock(event.at), h("span", { class: `mark ${event.level}` }, event.level), event.kind,
      [event.text, details.length ? h("span", { class: "details" }, details) : null]));
  }

  async function refresh() {
    const { events } = await get("/api/events");
    all = events.reverse();
    draw();
  }
  refresh().catch((error) => show(list, h("p", { class: "problem", role: "alert" }, error.message)));
  return {
    refresh: () => refresh().catch(() => {}),
    heard(kind, event) {
      if (kind !== "event") return;
      all = [event, ...all.filter((known) => known.number !== event.number)].slice(0, KEPT);
      draw();
    },
  };
}
