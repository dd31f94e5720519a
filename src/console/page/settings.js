// The effective settings.

import { get } from "./api.js";
import { cells, field, h, show, table } from "./dom.js";

export function settings(place) {
  let all = [];
  const words = h("input", { type: "search", oninput: draw, autocomplete: "off" });
  const own = h("input", { type: "checkbox", checked: true, onchange: draw });
  const list = h("div");
  show(place,
    h("p", { class: "lead" }, "What this process runs with, and where each setting was written. Secrets are masked."),
    h("div", { class: "row" }, field("Find", words), field("Only those that somebody set", own)), list);

  function draw() {
    const wanted = words.value.trim().toLowerCase();
    const shown = all.filter((one) => (!own.checked || !isDefault(one)) && `${one.name} ${one.value}`.toLowerCase().includes(wanted));
    if (!shown.length) return show(list, h("p", { class: "none" }, "No setting has that in its name or value."));
    const rows = shown.map((one) => h("tr", {}, cells(h("code", {}, one.name), h("code", { class: "value" }, one.value), isDefault(one) ? "default" : one.source)));
    show(list, table("Settings", ["Setting", "Value", "From"], rows));
  }

  const refresh = async () => {
    all = (await get("/api/settings")).settings;
    draw();
  };
  refresh().catch((error) => show(list, h("p", { class: "problem", role: "alert" }, error.message)));
  return { refresh: () => refresh().catch(() => {}) };
}

const isDefault = (one) => !one.source || one.source === "reference.yaml";
