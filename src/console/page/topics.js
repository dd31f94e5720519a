// The topics of this process: what each has to do, and how it does it.

import { get, post } from "./api.js";
import { ago, cells, facts, h, number, show, table, time } from "./dom.js";

const EVERY = 2000;

export function topics(place, app) {
  const list = h("div");
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  show(place, problem, list);
  let before = "";

  async function refresh() {
    try {
      const found = await get("/api/topics");
      problem.hidden = true;
      // Drawn anew only where something is different, and never under somebody's hands.
      const text = JSON.stringify(found);
      if (text === before || list.contains(document.activeElement)) return;
      before = text;
      show(list, consumed(found.processor), sent(found.proxy));
    } catch (error) {
      fail(error);
    }
  }

  function fail(error) {
    problem.hidden = false;
    show(problem, error.message);
  }

  async function turn(name, order, button) {
    try {
      await post(`/topics/${encodeURIComponent(name)}/${order}`);
      app.announce(`topic ${name}: ${order} done`);
      button.blur();
      before = "";
      await refresh();
      document.getElementById(`turn-${name}`)?.focus();
    } catch (error) {
      fail(error);
    }
  }

  function consumed(all) {
    if (!all) return null;
    return all.map((topic) => {
      const order = topic.state === "paused" ? "resume" : "pause";
      const button = h("button", { type: "button", id: `turn-${topic.name}`, disabled: app.process?.can_change === false, onclick: () => turn(topic.name, order, button) },
        order === "pause" ? "Pause intake" : "Resume intake", h("span", { class: "unseen" }, ` of ${topic.name}`));
      return h("section", { class: "card", "aria-label": `Topic ${topic.name}` },
        h("div", { class: "row spread" }, h("h2", {}, topic.name, " ", h("span", { class: `mark ${mark(topic)}` }, topic.state)), button),
        facts([
          ["Consumes", topic.request_topic],
          ["Answers to", topic.response_topic],
          ["Backend", [topic.backend_url, " ", h("span", { class: `mark ${topic.backend === "down" ? "error" : "info"}` }, health(topic.backend))]],
          ["Group", topic.consumer_group],
          ["Rate", rate(topic.last)],
          ["Lag", `${number(topic.lag)} records`],
          ["At work", `${number(topic.in_flight)} records${topic.oldest_in_flight_seconds ? `, the oldest for ${ago(topic.oldest_in_flight_seconds)}` : ""}`],
          ["Breaker", breaker(topic)],
          ["Retries at once", number(topic.retry_budget)],
          ["Waiting", waiting(topic)],
          ["Timeout", `${topic.timeout_seconds} s`],
        ]),
        table(`Partitions of ${topic.name}`, ["Partition", "Worker", "Lag", "At work", "Oldest", "Note"],
          topic.partitions_of.sort((one, other) => one.partition - other.partition).map((one) => h("tr", {}, cells(one.partition, one.worker, number(one.lag), number(one.in_flight),
            one.oldest_seconds === null ? "–" : ago(one.oldest_seconds), one.stands_still ? h("span", { class: "mark warn" }, "stands still") : "")))));
    });
  }

  refresh();
  const timer = setInterval(refresh, EVERY);
  return { refresh, close: () => clearInterval(timer) };
}

const mark = (topic) => (topic.state === "consuming" ? "info" : "warn");
const health = (state) => (state === "unknown" ? "not checked" : state);

function rate(last) {
  if (!last) return "no record yet";
  return `${number(last.rate)} a second, half within ${time(last.p50_ms)}, 99 % within ${time(last.p99_ms)}, ${number(last.error_rate)} errors a second`;
}

function breaker(topic) {
  if (topic.breaker_is_off) return "off";
  if (topic.breaker_opened_seconds_ago === null) return "closed";
  const tries = topic.breaker === "open" ? `, tries again in ${ago(topic.breaker_tries_in_seconds)}` : ", probing";
  return h("span", { class: "mark error" }, `${topic.breaker}, opened ${ago(topic.breaker_opened_seconds_ago)} ago${tries}`);
}

function waiting(topic) {
  const all = [];
  if (topic.waiting_for_call) all.push(`${topic.waiting_for_call} for a place for their call`);
  if (topic.waiting_for_rate) all.push(`${topic.waiting_for_rate} for the rate limit`);
  return all.join(", ") || "nothing";
}

function sent(all) {
  if (!all) return null;
  const rows = all.map(({ topic, last }) => h("tr", {}, cells(topic, number(last.rate), time(last.p50_ms), time(last.p99_ms), number(last.error_rate))));
  return h("section", { class: "card", "aria-label": "Sent by the proxy" }, h("h2", {}, "Sent by the proxy"),
    rows.length ? table("Sent by the proxy, last 10 seconds", ["Topic", "Requests/s", "p50", "p99", "Errors/s"], rows)
      : h("p", { class: "none" }, "No request yet."));
}
