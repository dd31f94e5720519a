// The other instances, each marked.

import { get } from "./api.js";
import { cells, h, number, show, table, time } from "./dom.js";

const EVERY = 5000;
const WORDS = { ok: "ready", warn: "look at this", bad: "not ready" };
const MARKS = { ok: "info", warn: "warn", bad: "error" };

/** A card that shows all instances, where the process knows of others; ends with the returned function. */
export function instances(place) {
  const draw = async () => {
    let answer;
    try {
      answer = await get("/api/peers");
    } catch {
      return;
    }
    if (place.contains(document.activeElement)) return;
    const { peers, unknown } = answer;
    if (!peers.length && !unknown.length) return show(place);
    show(place, h("section", { class: "card", "aria-label": "All instances" }, h("h2", {}, "Instances"),
      table("Instances", ["Instance", "State", "Requests/s", "p50", "p99", "Errors/s", "In flight", "Why"], peers.map(row)),
      unknown.map((name) => h("p", { class: "problem" }, `${name} has no address.`))));
  };
  draw();
  const timer = setInterval(draw, EVERY);
  return () => clearInterval(timer);
}

function row({ address, process, now, error }) {
  // The address is one that the process itself has resolved.
  const link = h("a", { href: `//${address}/#/now` }, address);
  if (error) return h("tr", { class: "failed" }, cells(link, h("span", { class: "mark error" }, error), "–", "–", "–", "–", "–", ""));
  const roles = [process.proxy && "proxy", process.processor && "processor"].filter(Boolean).join(" and ");
  const { state, minute, point } = now;
  return h("tr", {}, cells([link, h("span", { class: "details" }, [process.instance, roles, `v${process.version}`].filter(Boolean).join(" · "))],
    h("span", { class: `mark ${MARKS[state.level]}` }, WORDS[state.level]), number(minute.rate), time(minute.p50_ms), time(minute.p99_ms),
    number(minute.error_rate), number(point.in_flight), state.level === "ok" ? "" : state.sentence));
}

/** What all instances know of a request, and each with its address. */
export async function findEverywhere(id) {
  const own = (await get(`/api/requests/${encodeURIComponent(id)}`)).requests;
  const { peers } = await get(`/api/peers/requests/${encodeURIComponent(id)}`);
  const found = [...own];
  const same = (one, other) => one.role === other.role && one.at === other.at && one.ms === other.ms;
  for (const { address, requests } of peers) {
    for (const request of requests ?? []) {
      const known = found.find((other) => same(request, other));
      if (known) known.instance ??= address;
      else found.push({ ...request, instance: address });
    }
  }
  return found.sort((one, other) => (one.role === other.role ? one.at - other.at : one.role === "proxy" ? -1 : 1));
}
