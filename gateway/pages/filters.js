// The filters of the requests: fields that change the address, and a chip for each filter in force.

import { rowsOf } from "./ask.js";
import { link, make, refill } from "./dom.js";
import { count } from "./format.js";
import { activeFilters, FILTERS, go, localMinute, parameters, ROUTES, span, STATUSES, withChanges } from "./state.js";

const TYPED_MS = 300; // after the last key, before a typed text filters
// The choices that the store knows: filter, label, and the column of `/logs/groups`.
const OFFERED = [["client", "Client", "client_program"], ["token", "Token", "caller"], ["model", "Model", "model"]];
const ANY = " "; // no value of a filter

export class Filters {
  constructor() {
    this.text = make("input", { type: "search", placeholder: "id, path, model, error text …", maxLength: 200, oninput: () => this.typed() });
    this.fields = {
      status: this.choice("status", Object.entries(STATUSES).map(([name, [label]]) => [name, label])),
      route: this.choice("route", Object.keys(ROUTES).filter((name) => name !== "none").map((name) => [name, name])),
    };
    for (const [name] of OFFERED) this.fields[name] = this.choice(name, []);
    this.times = ["from", "to"].map((name) => make("input", { type: "datetime-local", onchange: (event) => go(withChanges({ [name]: event.target.value || null })) }));
    const field = (label, control) => make("label", {}, make("span", { textContent: label }), control);
    const fields = make("div", { className: "fields" }, field("Search", this.text), field("Status", this.fields.status), field("Route", this.fields.route),
      ...OFFERED.map(([name, label]) => field(label, this.fields[name])), field("From", this.times[0]), field("To", this.times[1]));
    this.summary = make("summary", { textContent: "Filters" });
    this.details = make("details", { id: "filters", open: innerWidth > 700 }, this.summary, fields);
    this.chips = make("ul", { className: "chips", ariaLabel: "Filters in force" });
    this.element = make("form", { className: "filters", onsubmit: (event) => event.preventDefault() }, this.details, this.chips);
    this.element.setAttribute("role", "search");
  }

  choice(name, options) {
    const select = make("select", { onchange: () => go(withChanges({ [name]: select.value === ANY ? null : select.value })) });
    options.unshift([ANY, "Any"]);
    select.append(...options.map(([value, text]) => make("option", { value, textContent: text })));
    return select;
  }

  typed() {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => go(withChanges({ text: this.text.value.trim() || null }), { replace: true }), TYPED_MS);
  }

  // Show the filters of the address.
  show(state) {
    const active = activeFilters(state);
    if (document.activeElement !== this.text) this.text.value = state.get("text") ?? "";
    for (const [name, select] of Object.entries(this.fields)) this.choose(select, state.get(name));
    this.times.forEach((field, at) => (field.value = state.get(["from", "to"][at]) ?? ""));
    this.summary.textContent = active.length ? `Filters (${active.length})` : "Filters";
    this.chips.hidden = !active.length;
    refill(this.chips, active.map((name) => `${name}=${state.get(name)}`).join("\n"), () => active.map((name) => this.chip(name, state.get(name))));
  }

  chip(name, value) {
    const shown = name === "status" ? STATUSES[value]?.[0] ?? value : value || "none";
    const text = `${FILTERS[name][1]}: ${shown}`;
    return make("li", {}, make("span", { textContent: text }), link(withChanges({ [name]: null }), "×", { ariaLabel: `Remove the filter ${text}` }));
  }

  choose(select, value) {
    if (value != null && ![...select.options].some((option) => option.value === value)) select.append(make("option", { value, textContent: value || "none" }));
    select.value = value ?? ANY;
  }

  // Fill the choices with the values of the shown time, with their number of requests.
  async offer(state) {
    const { start, end } = span(state);
    const time = `${localMinute(start)} ${end}`;
    if (this.offered === time) return;
    this.offered = time;
    const query = parameters(state, { filtered: false });
    const known = await Promise.all(OFFERED.map(([, , by]) => rowsOf(`/logs/groups?by=${by}&${query}`).catch(() => [])));
    OFFERED.forEach(([name], at) => {
      const select = this.fields[name];
      if (select === document.activeElement) return;
      const options = known[at].map((row) => make("option", { value: row.name, textContent: `${row.name || "none"} (${count(row.requests)})` }));
      select.replaceChildren(make("option", { value: ANY, textContent: "Any" }), ...options);
      this.choose(select, state.get(name));
    });
  }
}
