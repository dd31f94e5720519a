// How the process is: in words, in numbers, and where the time goes.

import { get } from "./api.js";
import { chart, stacked } from "./chart.js";
import { bytes, cells, h, number, say, show, table, time } from "./dom.js";
import { instances } from "./peers.js";
import { ORDER, phaseClass, phaseName } from "./waterfall.js";

const KEPT = 900;
const WORDS = { ok: "Ready", warn: "Look at this", bad: "Not ready" };

export function now(place, app) {
  let points = [];
  let latest = null;
  const level = h("p", { class: "level", role: "status" });
  const sentence = h("p", { class: "sentence" });
  const reasons = h("ul", { class: "reasons" });
  const state = h("section", { class: "state card", "aria-label": "State" }, level, sentence, reasons);
  const tiles = h("ul", { class: "tiles" });
  const phases = h("section", { class: "card", "aria-label": "Where the time is" });
  const charts = h("div", { class: "charts" });
  const sides = h("div", { class: "sides" });
  const others = h("div");
  let leave = null;
  show(place, state, tiles, phases, charts, sides, others);

  function draw() {
    if (!latest) return;
    const { state: { level: how, sentence: words, reasons: all }, minute, point, bounds } = latest;
    const pending = bounds.find((one) => one.name === "max_pending");
    state.className = `state card ${how}`;
    say(level, WORDS[how]);
    say(sentence, words);
    // The sentence has the first one already.
    show(reasons, all.slice(1).map((reason) => h("li", { class: reason.level }, reason.text)));
    show(tiles, [
      tile("Requests a second", number(point.rate), `${number(minute.rate)} in the last minute`),
      tile("Half within", time(minute.p50_ms), "p50, last minute"),
      tile("99 % within", time(minute.p99_ms), "p99, last minute"),
      tile("Errors a second", number(point.error_rate), `${number(minute.error_rate)} in the last minute`, minute.error_rate > 0 ? "bad" : ""),
      tile("In flight", number(point.in_flight), pending ? `of ${number(pending.of)}` : "records at work"),
    ]);
    drawPhases(minute);
    drawCharts();
    show(sides, drawBounds(bounds), drawErrors(minute));
  }

  function role() {
    const of = app.process ?? {};
    return of.proxy && of.processor ? "both" : of.proxy ? "proxy" : "processor";
  }

  function drawPhases(minute) {
    const known = ORDER.filter((phase) => minute.phases_ms[phase] !== undefined)
      .map((phase) => ({ phase, name: phaseName(phase, role()), value: minute.phases_ms[phase] }));
    const all = known.reduce((sum, part) => sum + part.value, 0);
    if (!all) return show(phases, h("h2", {}, "Where the time is"), h("p", { class: "none" }, "No request in the last minute."));
    const slowest = known.reduce((most, part) => (part.value > most.value ? part : most));
    const parts = known.map((part) => ({ ...part, class: phaseClass(part.phase, role()) }));
    const words = `A request of the last minute took ${time(all)} on average, most of it ${slowest.name}: ${time(slowest.value)}.`;
    show(phases, h("h2", {}, "Where the time is"), h("p", {}, words), stacked(parts, words),
      h("ul", { class: "legend wide" }, parts.map((part) => h("li", { class: part.phase === slowest.phase ? "most" : "" },
        h("span", { class: `key ${part.class}` }), `${part.name} `, h("strong", {}, time(part.value)), ` ${Math.round((part.value / all) * 100)} %`))));
  }

  function drawCharts() {
    show(charts,
      chart({ title: "Requests a second", points, area: true, write: number, lines: [{ name: "requests", class: "c1", of: (point) => point.rate }] }),
      chart({ title: "Time of a request", points, write: time, lines: [
        { name: "p99", class: "c2", of: (point) => point.p99_ms },
        { name: "p50", class: "c1", of: (point) => point.p50_ms }] }),
      chart({ title: "Errors a second", points, area: true, write: number, lines: [{ name: "errors", class: "c3", of: (point) => point.error_rate }] }),
      chart({ title: "In flight", points, area: true, write: number, lines: [{ name: "in flight", class: "c4", of: (point) => point.in_flight }] }));
  }

  async function refresh() {
    const [history, current] = await Promise.all([get("/api/history"), get("/api/now")]);
    points = history.points;
    latest = current;
    draw();
  }
  refresh().catch((error) => say(sentence, error.message));
  follow();

  function follow() {
    if (app.process?.peers) leave ??= instances(others);
  }
  return {
    close: () => leave?.(),
    refresh(process) {
      app.process = process;
      follow();
      refresh().catch(() => {});
    },
    heard(kind, current) {
      if (kind !== "now") return;
      latest = current;
      if (current.point.at > (points.at(-1)?.at ?? 0)) points.push(current.point);
      points = points.filter((point) => point.at > current.point.at - KEPT);
      draw();
    },
  };
}

const tile = (name, value, note, how = "") => h("li", { class: `tile ${how}` },
  h("span", { class: "name" }, name), h("span", { class: "value" }, value), h("span", { class: "note" }, note));

function drawBounds(bounds) {
  const rows = bounds.map((bound) => {
    const share = bound.of > 0 ? Math.min(bound.used / bound.of, 1) : 0;
    const write = bound.name.endsWith("bytes") ? bytes : number;
    const used = `${write(bound.used)} of ${write(bound.of)}`;
    const meter = h("meter", { min: 0, max: 1, high: 0.8, "aria-label": `${bound.what}: ${used}` });
    meter.value = share;
    return h("tr", {}, cells([bound.what, h("code", { class: "details" }, bound.name)], [meter, h("span", { class: "details" }, used)]));
  });
  return h("section", { class: "card", "aria-label": "What is bounded" }, h("h2", {}, "What is bounded"),
    table("Bounds", ["What, and the setting", "Used"], rows));
}

function drawErrors(minute) {
  const codes = Object.entries(minute.codes).sort((one, other) => other[1] - one[1]);
  return h("section", { class: "card", "aria-label": "Errors" }, h("h2", {}, "Errors of the last minute"),
    codes.length
      ? table("Errors by code", ["Code", "Requests"], codes.map(([code, count]) => h("tr", {}, cells(h("code", {}, code || "none"), number(count)))))
      : h("p", { class: "none" }, "None."));
}
