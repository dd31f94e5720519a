// A request's way, phase by phase, and the words for phases.

import { bytes, clock, facts, h, time } from "./dom.js";

const PHASES = {
  admission: "waiting for a place",
  produce: "into Kafka",
  queue: "in the topic",
  permit: "waiting at the processor",
  backend: "backend",
  back: "reply into Kafka",
  reply: "back through Kafka",
  write: "out to the client",
};

/** The order in which a request goes through them. */
export const ORDER = Object.keys(PHASES);

/** What a phase is called, as `role` sees it: `proxy`, `processor` or `both`. */
export function phaseName(phase, role) {
  if (phase === "reply" && role === "proxy") return "waiting for the reply";
  if (phase === "reply" && role === "processor") return PHASES.back;
  return PHASES[phase] ?? phase;
}

export function outcome(request) {
  const text = [request.status ?? "no answer", request.code, request.idempotency].filter(Boolean).join(" ");
  return h("span", { class: `mark ${request.failed ? "error" : "info"}` }, text);
}

/** All that is known of one request: `found` are the views of the roles that saw it. */
export function waterfall(found) {
  const starts = found.map((request) => request.at + Math.min(0, ...request.phases.map((phase) => phase.at_ms)));
  const begin = Math.min(...starts);
  const end = Math.max(...found.map((request) => request.at + request.ms), begin + 0.001);
  const bar = (at, ms, kind) => h("span", { class: "track", "aria-hidden": "true" },
    h("span", { class: `bar ${kind}`, at: { left: `${((at - begin) / (end - begin)) * 100}%`, width: `${(ms / (end - begin)) * 100}%` } }));
  return found.map((request) => {
    const calls = () => request.calls.map((call, index) => {
      const result = call.status ?? call.error ?? "cut off";
      return row(`call ${index + 1}: ${result}`, call.ms === null ? "cut off" : time(call.ms), bar(request.at + call.at_ms, call.ms ?? 0, "call"), "call");
    });
    const phases = request.phases.map((phase) => {
      const kind = phaseClass(phase.name, request.role);
      return [row(phaseName(phase.name, request.role), time(phase.ms), bar(request.at + phase.at_ms, phase.ms, kind)), phase.name === "backend" && calls()];
    });
    const by = `As the ${request.role}${request.instance ? ` at ${request.instance}` : ""} saw it`;
    return h("section", { class: "card", "aria-label": by },
      h("h2", {}, by),
      h("p", { class: "asked" }, h("code", {}, `${request.method} ${request.path}`), " ", outcome(request), ` in ${time(request.ms)}`),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": `Phases at the ${request.role}` },
        h("table", { class: "waterfall" }, h("caption", { class: "unseen" }, `Phases at the ${request.role}`),
          h("thead", { class: "unseen" }, h("tr", {}, ["Phase", "When", "Time"].map((head) => h("th", { scope: "col" }, head)))),
          h("tbody", {}, phases))),
      known(request));
  });
}

const row = (name, took, bar, kind = "") => h("tr", { class: kind }, h("th", { scope: "row" }, name), h("td", {}, bar), h("td", { class: "number" }, took));

/** The reply is another phase for each role, and has its own colour. */
export const phaseClass = (phase, role) => `phase-${phase === "reply" && role === "processor" ? "back" : phase}`;

function known(request) {
  const lies = (record) => record && [record.topic, record.partition, record.offset].filter((part) => part !== null).join(" / ");
  return facts([
    ["Began", clock(request.at, true)],
    ["Correlation id", request.correlation_id],
    ["Request id", request.request_id],
    ["Trace id", request.trace_id],
    ["Client", request.client],
    ["Principal", request.principal],
    ["Request record", lies(request.request)],
    ["Reply record", lies(request.reply)],
    ["Request body", bytes(request.request_bytes)],
    ["Answer body", bytes(request.response_bytes)],
  ]);
}
