// Dead letters: browse, filter, open, and send back.

import { get, post } from "./api.js";
import { bytes, cells, clock, facts, field, h, show, table } from "./dom.js";

const FIELDS = "FIELD=VALUE exactly, FIELD~GLOB with * ? [a-z] {a,b}; one a line, all must hold. Fields: id, topic, error, exception, attempts, redrive, partition, method, path, key, header:NAME.";

export function letters(place, app) {
  return app.path.length ? one(place, app, app.path[0]) : list(place, app);
}

/** What the command line says of a value that it does not show. */
const MASKED = "*** (--reveal shows it)";

const problem = (error) => h("p", { class: "problem", role: "alert" }, error.message);

/** One letter in full. */
function one(place, app, name) {
  const found = h("div", {}, h("p", {}, "Reading it."));
  const panel = redriving(app);
  show(place, h("p", {}, h("a", { href: "#/dead-letters" }, "All dead letters")), found, panel.element);
  const refresh = async () => {
    try {
      const letter = await get(`/api/dead-letters/${encodeURIComponent(name)}`);
      const header = (wanted) => letter.headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
      const id = header("kafka_correlationid");
      panel.only(id ? [`id=${id}`, `partition=${letter.place.split(":")[0]}`] : null);
      show(found, h("section", { class: "card", "aria-label": `Letter ${letter.place}` }, h("h2", {}, `Letter ${letter.place}`),
        facts([["Given up", letter.given_up], ["Key", letter.key], ["Correlation id", id && h("a", { href: `#/requests/${encodeURIComponent(id)}` }, id)], ["Body elsewhere", letter.beside]]),
        table("Headers of the record", ["Header", "Value"], letter.headers.map(([name, value]) => h("tr", {}, cells(h("code", {}, name), h("code", { class: "value" }, value === MASKED ? "***" : value))))),
        h("h3", {}, "Body"), h("pre", { tabindex: 0, role: "region", "aria-label": "Body" }, letter.body)));
    } catch (error) {
      show(found, problem(error));
    }
  };
  refresh();
  return { refresh: (process) => panel.refresh(process), heard: panel.heard };
}

function list(place, app) {
  const words = h("textarea", { rows: 2, spellcheck: "false" });
  const redriven = h("input", { type: "checkbox" });
  const found = h("div");
  const filters = () => words.value.split("\n").map((line) => line.trim()).filter(Boolean);
  const panel = redriving(app, filters, () => look());
  const form = h("form", { class: "card", role: "search", onsubmit: (event) => { event.preventDefault(); look(); } },
    field("Filters", words, FIELDS),
    h("div", { class: "row" }, field("Also those that were redriven", redriven), h("button", { type: "submit", class: "main" }, "Show")));
  show(place, form, found, panel.element);

  async function look() {
    const query = new URLSearchParams(filters().map((filter) => ["filter", filter]));
    if (redriven.checked) query.append("all", "true");
    show(found, h("p", {}, "Reading the topic."));
    try {
      const answer = await get(`/api/dead-letters?${query}`);
      app.announce(`${answer.letters.length} ${answer.letters.length === 1 ? "letter" : "letters"}`);
      if (!answer.letters.length) {
        show(found, h("p", { class: "none" }, answer.exists ? `No letter on ${answer.topic} passes.` : "No record was ever given up: the topic does not exist yet."));
        return;
      }
      show(found, table("Dead letters", ["Letter", "Given up", "Request", "Topic", "Error", "Tries", "Rounds", "Size"], answer.letters.map(row)),
        answer.more && h("p", { class: "hint" }, `There are more than these ${answer.letters.length}: a filter finds them.`));
    } catch (error) {
      show(found, problem(error));
    }
  }
  look();
  return { refresh: (process) => panel.refresh(process), heard: panel.heard };
}

function row(letter) {
  const href = `#/dead-letters/${encodeURIComponent(letter.place)}`;
  return h("tr", {}, cells(h("a", { href }, letter.place), letter.given_up === null ? "–" : clock(letter.given_up),
    h("code", {}, [letter.method, letter.path].filter(Boolean).join(" ") || "unreadable"), letter.topic ?? "–",
    [h("code", {}, letter.error ?? "–"), letter.cause ? h("span", { class: "details" }, letter.cause) : null],
    letter.attempts ?? "–", letter.redriven ? `${letter.rounds}, gone back` : letter.rounds, bytes(letter.size)));
}

/** The panel that sends letters back: a dry run first, which says what would be done. */
function redriving(app, filters, done) {
  let chosen = null;
  let proven = null;
  let last = null;
  const most = h("input", { type: "number", min: 1, inputmode: "numeric" });
  const rate = h("input", { type: "number", min: 0, step: "any", inputmode: "decimal" });
  const dry = h("button", { type: "button", onclick: () => begin(true) }, "Dry run");
  const go = h("button", { type: "button", class: "main", disabled: true, onclick: () => begin(false) }, "Redrive");
  const stop = h("button", { type: "button", hidden: true, onclick: halt }, "Stop");
  const note = h("p", { class: "hint" });
  const status = h("div", { role: "status" });
  const element = h("section", { class: "card", "aria-label": "Redrive" }, h("h2", {}, filters ? "Redrive those that pass" : "Redrive this letter"), note,
    filters && h("div", { class: "row" }, field("At most (letters)", most), field("Letters a second", rate)),
    h("p", { class: "row" }, dry, go, stop), status);
  explain();

  function current() {
    return filters ? filters() : chosen;
  }

  function order() {
    return { filter: current(), ...(most.value && { max: Number(most.value) }), ...(rate.value && { rate: Number(rate.value) }) };
  }

  function explain() {
    const of = app.process;
    const can = (!of || (of.can_change && of.dead_letters)) && current() !== null;
    dry.disabled = !can || last?.running;
    // Only what a dry run has shown is sent.
    go.disabled = !can || last?.running || proven === null || proven !== JSON.stringify(order());
    stop.hidden = !last?.running;
    note.textContent = of && !of.dead_letters ? "This process keeps no dead letters: a processor does, with dead_letter_topic."
      : of && !of.can_change ? "This process has no management_token: without one, nothing is sent back from here."
      : current() === null ? "This letter has no correlation id to name it by. Use a filter in the list."
      : "Letters go back to the topics they came from, each once. A dry run comes first, and says which.";
  }
  for (const input of [most, rate]) input.addEventListener("input", explain);

  async function begin(dryRun) {
    const asked = order();
    try {
      const { redrive } = await post("/api/redrive", { ...asked, dry_run: dryRun });
      proven = dryRun ? JSON.stringify(asked) : null;
      follow(redrive);
    } catch (error) {
      show(status, problem(error));
    }
    explain();
  }

  async function halt() {
    try {
      await post("/api/redrive/stop");
    } catch (error) {
      show(status, problem(error));
    }
  }

  function follow(redrive) {
    // An older one tells nothing about the one that was just begun.
    if (!redrive || (last && redrive.number < last.number)) return;
    // The answer to an order may come after its redrive has ended.
    if (last?.number === redrive.number && redrive.running && !last.running) return;
    const ended = last?.running && !redrive.running;
    last = redrive;
    const left = redrive.left.reduce((sum, stay) => sum + stay.count, 0);
    const what = redrive.dry_run ? (redrive.running ? "would go back so far" : "would go back") : redrive.running ? "went back so far" : "went back";
    show(status,
      h("p", { class: "progress" }, h("strong", {}, `${redrive.redriven} ${redrive.redriven === 1 ? "letter" : "letters"} ${what}`), left ? `, ${left} stay` : ""),
      redrive.running && h("progress", { "aria-label": "Redrive" }),
      redrive.error && h("p", { class: "problem" }, redrive.error),
      redrive.left.map((stay) => h("p", { class: "hint" }, `${stay.count} stay: ${stay.why} (${stay.places.join(", ")}${stay.count > stay.places.length ? ", …" : ""})`)),
      redrive.dry_run && redrive.planned.length > 0 && h("ul", { class: "planned" }, redrive.planned.slice(0, 20).map((plan) => h("li", {}, `${plan.place} → ${plan.topic}`))));
    explain();
    if (ended && redrive.dry_run && !go.disabled && [document.body, dry].includes(document.activeElement)) go.focus();
    if (ended && !redrive.dry_run) done?.();
  }

  async function catchUp() {
    try {
      const { redrive } = await get("/api/redrive");
      // What another panel tried and ended is not of this one.
      if (redrive?.running || (redrive && last?.number === redrive.number)) follow(redrive);
    } catch {
      // The list says what is wrong.
    }
  }
  catchUp();
  return {
    element,
    only(filter) {
      chosen = filter;
      explain();
    },
    refresh(process) {
      app.process = process;
      explain();
      catchUp();
    },
    heard(kind, redrive) {
      if (kind === "redrive") follow(redrive);
    },
  };
}
