// A request through the real way, and what became of it.

import { get, post } from "./api.js";
import { field, h, show, time } from "./dom.js";
import { waterfall } from "./waterfall.js";

/** The record of a request is there a moment after its answer. */
const LOOKS = 20;

export function attempt(place, app) {
  const method = h("select", {}, ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"].map((name) => h("option", {}, name)));
  const path = h("input", { value: "/", autocomplete: "off", spellcheck: "false" });
  const headers = h("textarea", { rows: 2, spellcheck: "false" });
  const body = h("textarea", { rows: 4, spellcheck: "false" });
  const button = h("button", { type: "submit", class: "main" }, "Send");
  const result = h("div");
  const form = h("form", { class: "card", novalidate: true, onsubmit: send },
    h("div", { class: "row" }, field("Method", method), field("Path and query", path)),
    field("Header fields", headers, "one a line, as in Accept: application/json"),
    field("Body", body), h("p", {}, button));
  const lead = h("p", { class: "lead" });
  show(place, lead, form, result);
  explain();

  function explain() {
    const of = app.process;
    const can = !of || (of.proxy && of.can_change);
    button.disabled = !can;
    show(lead, !of || can ? "Sends a request to this process's own proxy port. It goes through Kafka to the backend, as any client's does."
      : of.proxy ? "This process has no management_token: without one, nothing can be sent from here."
      : "This process is no proxy. Try a request at one that is.");
  }

  function fields() {
    return headers.value.split("\n").filter((line) => line.trim()).map((line) => {
      const colon = line.indexOf(":");
      if (colon < 1) throw new Error(`${line} is no header field: write Name: value`);
      return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
    });
  }

  async function send(event) {
    event.preventDefault();
    button.disabled = true;
    try {
      const asked = { method: method.value, path: path.value.startsWith("/") ? path.value : `/${path.value}`, headers: fields(), body: body.value };
      show(result, h("p", {}, "Under way."));
      const answer = await post("/api/try", asked);
      app.announce(`answered ${answer.status} in ${time(answer.ms)}`);
      await tell(answer);
    } catch (error) {
      show(result, h("p", { class: "problem", role: "alert" }, error.message));
    }
    explain();
  }

  async function tell(answer) {
    const way = h("div");
    show(result, h("section", { class: "card", "aria-label": "Answer" },
      h("h2", {}, `${answer.status} in ${time(answer.ms)}`),
      h("pre", { tabindex: 0, role: "region", "aria-label": "Header fields of the answer" }, answer.headers.map(([name, value]) => `${name}: ${value}\n`).join("")),
      h("pre", { tabindex: 0, role: "region", "aria-label": "Body of the answer" }, answer.body || "(no body)", answer.cut ? "\n… the rest is left out" : "")), way);
    for (let look = 0; look < LOOKS; look += 1) {
      const { requests } = await get(`/api/requests/${encodeURIComponent(answer.id)}`);
      show(way, waterfall(requests));
      if (requests.length >= (app.process?.processor ? 2 : 1)) return;
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  }
  return {
    refresh(process) {
      app.process = process;
      explain();
    },
  };
}
