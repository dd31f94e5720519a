// The requests that are remembered, and one of them in full.

import { get } from "./api.js";
import { cells, clock, field, h, show, table, time } from "./dom.js";
import { stacked } from "./chart.js";
import { findEverywhere } from "./peers.js";
import { outcome, phaseClass, phaseName, waterfall } from "./waterfall.js";

const SHOWN = 200;

export function requests(place, app) {
  return app.path.length ? one(place, app, app.path[0]) : list(place, app);
}

/** One request, by any of its ids. */
function one(place, app, id) {
  const found = h("div", {}, h("p", {}, "Looking for it."));
  show(place, h("p", {}, h("a", { href: "#/requests" }, "All requests")), found);
  const refresh = async () => {
    try {
      const requests = app.process?.peers ? await findEverywhere(id) : (await get(`/api/requests/${encodeURIComponent(id)}`)).requests;
      show(found, requests.length ? waterfall(requests) : h("p", { class: "none" }, `This process remembers no request ${id}. Another instance may.`));
    } catch (error) {
      show(found, h("p", { class: "problem", role: "alert" }, error.message));
    }
  };
  refresh();
  return {
    refresh(process) {
      app.process = process ?? app.process;
      refresh();
    },
  };
}

function list(place, app) {
  let all = [];
  let held = false;
  let drawing = null;
  const roles = h("select", { onchange: refresh });
  const rings = h("select", { onchange: refresh },
    [["last", "the last 1,000"], ["failed", "the last failed ones"], ["slowest", "the slowest"]].map(([value, text]) => h("option", { value }, text)));
  const hold = h("button", { type: "button", "aria-pressed": "false", onclick: turn }, "Hold still");
  const wanted = h("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  const find = h("form", { class: "row", role: "search", onsubmit: search }, field("Correlation, request or trace id", wanted), h("button", { type: "submit" }, "Find"));
  const found = h("div");
  show(place, h("div", { class: "row" }, field("Which", rings), field("Seen by the", roles), hold, find), found);
  choose();

  function choose() {
    const known = ["proxy", "processor"].filter((role) => !app.process || app.process[role]);
    const before = roles.value;
    show(roles, known.map((role) => h("option", { value: role }, role)));
    roles.value = known.includes(before) ? before : (known[0] ?? "");
  }

  function turn() {
    held = !held;
    hold.setAttribute("aria-pressed", String(held));
    hold.textContent = held ? "Go on" : "Hold still";
    if (!held) refresh();
  }

  function search(event) {
    event.preventDefault();
    const id = wanted.value.trim();
    if (id) location.hash = `#/requests/${encodeURIComponent(id)}`;
  }

  function draw() {
    if (!all.length) return show(found, h("p", { class: "none" }, "None yet."));
    const rows = all.slice(0, SHOWN).map(row);
    show(found, table("Requests", ["Began", "Request", "Topic", "Outcome", "Time", "Calls", "Phases"], rows));
  }

  function row(request) {
    const href = `#/requests/${encodeURIComponent(request.correlation_id || "unknown")}`;
    const parts = request.phases.map((phase) => ({ class: phaseClass(phase.name, request.role), value: phase.ms }));
    const words = request.phases.map((phase) => `${phaseName(phase.name, request.role)} ${time(phase.ms)}`).join(", ");
    return h("tr", { class: request.failed ? "failed" : "" }, cells(clock(request.at), h("a", { href, class: "code" }, `${request.method} ${request.path}`),
      request.topic ?? "–", outcome(request), time(request.ms), request.attempts || "–", stacked(parts, words || "no phase")));
  }

  async function refresh() {
    try {
      all = (await get(`/api/requests?role=${roles.value || "proxy"}&ring=${rings.value}`)).requests;
      draw();
    } catch (error) {
      show(found, h("p", { class: "problem", role: "alert" }, error.message));
    }
  }
  if (app.process) refresh();
  return {
    close: () => clearTimeout(drawing),
    refresh(process) {
      app.process = process;
      choose();
      if (!held) refresh();
    },
    heard(kind, told) {
      // Nothing moves while somebody is in the list.
      if (kind !== "requests" || held || found.contains(document.activeElement)) return;
      const mine = told.filter((request) => request.role === roles.value);
      if (!mine.length) return;
      if (rings.value === "slowest") return;
      const more = mine.filter((request) => rings.value === "last" || request.failed).reverse();
      const known = new Set(more.map((request) => request.number));
      all = [...more, ...all.filter((request) => !known.has(request.number))].slice(0, 1000);
      // Nobody reads faster than this.
      drawing ??= setTimeout(() => {
        drawing = null;
        if (!found.contains(document.activeElement)) draw();
      }, 400);
    },
  };
}
