// The page: which view is shown, and what reaches it.

import { askToken, get, hasToken, listen } from "./api.js";
import { h, say, show } from "./dom.js";
import { events } from "./events.js";
import { letters } from "./letters.js";
import { now } from "./now.js";
import { requests } from "./requests.js";
import { settings } from "./settings.js";
import { topics } from "./topics.js";
import { attempt } from "./try.js";

const VIEWS = [
  ["now", "Now", now],
  ["topics", "Topics", topics],
  ["requests", "Requests", requests],
  ["try", "Try", attempt],
  ["dead-letters", "Dead letters", letters],
  ["events", "Events", events],
  ["settings", "Settings", settings],
];

const main = document.getElementById("main");
const link = document.getElementById("link");
/** What every view knows: the process, and how to say something to those who only listen. */
const app = { process: null, announce: (text) => say(document.getElementById("said"), text) };
let shown = null;

function open(moved) {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const [id, title, view] = VIEWS.find(([id]) => id === name) ?? VIEWS[0];
  shown?.close?.();
  for (const anchor of document.querySelectorAll("nav a")) {
    if (anchor.dataset.view === id) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  document.title = [title, app.process?.instance, "actix-khp console"].filter(Boolean).join(" · ");
  const place = h("div", { class: `view ${id}` });
  show(main, h("h1", {}, title), place);
  shown = view(place, { ...app, path: rest.map(decode) });
  if (moved) main.focus({ preventScroll: false });
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function nav() {
  const links = VIEWS.map(([id, title]) => h("li", {}, h("a", { href: `#/${id}`, "data-view": id }, title)));
  show(document.getElementById("nav"), h("ul", {}, links));
}

function tell(state, text) {
  link.className = `link ${state}`;
  say(link, text);
}

function tokenButton() {
  const button = document.getElementById("token");
  button.hidden = app.process !== null && !app.process.can_change;
  say(button, hasToken() ? "Change token" : "Enter token");
}

document.getElementById("token").addEventListener("click", async () => {
  await askToken("Whatever changes something needs the management_token.");
  tokenButton();
});
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
addEventListener("hashchange", () => open(true));

nav();
listen({
  async opened() {
    app.process = await get("/api/process");
    const roles = [app.process.proxy && "proxy", app.process.processor && "processor"].filter(Boolean).join(" and ");
    const names = [roles, app.process.instance, app.process.version && `v${app.process.version}`].filter(Boolean);
    say(document.getElementById("instance"), names.join(" · "));
    tell("up", "live");
    tokenButton();
    // Whatever was missed meanwhile is asked for anew.
    if (shown?.refresh) shown.refresh(app.process);
    else open(false);
  },
  heard(event, data) {
    shown?.heard?.(event, data);
  },
  lost() {
    tell("down", "connection lost, trying again");
    app.announce("connection lost, trying again");
  },
});
