// What a page shows, kept in the address: a link or a reload shows the same view.
//
// An empty value is a choice ("no token"), a missing one is none. `changed` tells the listener of every change.

export const RANGES = [[0.25, "15 min"], [1, "1 h"], [24, "24 h"], [168, "7 d"], [720, "30 d"]];
// The filters, by their name in the address: the parameter of `/logs` and the label of the chip.
export const FILTERS = {
  route: ["service_type", "route"], status: ["", "status"], model: ["model", "model"], asked: ["asked_model", "asked model"],
  client: ["client_program", "client"], token: ["caller", "token"], session: ["session_id", "session"], agent: ["agent_id", "agent"],
  cause: ["cache_cause", "cache miss"], error: ["error_kind", "error"], paid: ["billed_to", "paid by"], tier: ["service_tier", "service tier"], provider: ["provider", "provider"], endpoint: ["endpoint", "endpoint"], text: ["search", "text"],
};
export const ROUTES = { "/api": "claude", "/codex": "codex", "/sdk": "sdk", none: "gateway" };
export const STATUSES = {
  ok: ["Answered", { failed: "false" }], failed: ["Failed", { failed: "true" }], refused: ["Refused, 401 or 403", { status_min: 401, status_max: 403 }],
  "4xx": ["4xx", { status_min: 400, status_max: 499 }], "5xx": ["5xx", { status_min: 500, status_max: 599 }],
};
const KEPT = ["hours", "from", "to"]; // what a link to another view keeps
const HOUR = 3600;
let usualHours = 24;
const listeners = [];

export const changed = (listener) => listeners.push(listener);
const tell = () => listeners.forEach((listener) => listener());
export const setUsualHours = (hours) => (usualHours = hours);
export const current = () => new URLSearchParams(location.search);
export const viewOf = (state) => state.get("view") ?? "overview";
export const hoursOf = (state) => Number(state.get("hours")) || usualHours;

// The address of the present view with `changes`; null takes a value out. A changed filter begins at the first page.
export function withChanges(changes) {
  const state = current();
  if (!("page" in changes)) state.delete("page");
  if (!("request" in changes)) state.delete("request");
  return address(state, changes);
}

// The address of a view with `changes`, without the filters of the present one.
export function toView(view, changes = {}) {
  const state = new URLSearchParams();
  if (view !== "overview") state.set("view", view);
  for (const name of KEPT) if (current().has(name)) state.set(name, current().get(name));
  return address(state, changes);
}

function address(state, changes) {
  for (const [name, value] of Object.entries(changes)) value == null ? state.delete(name) : state.set(name, value);
  return state.size ? `/dashboard?${state}` : "/dashboard";
}

export function go(href, { replace = false } = {}) {
  if (href !== location.pathname + location.search) history[replace ? "replaceState" : "pushState"](null, "", href);
  tell();
}

// The shown time as UTC seconds, `end` only where one was chosen.
export function span(state) {
  const read = (name) => (state.get(name) ? new Date(state.get(name)).getTime() / 1000 : NaN);
  const [from, to] = [read("from"), read("to")];
  const start = Number.isFinite(from) ? from : (Number.isFinite(to) ? to : Date.now() / 1000) - hoursOf(state) * HOUR;
  return Number.isFinite(to) ? { start, end: to } : { start };
}

// A moment as the value of a `datetime-local` field.
export function localMinute(seconds) {
  const when = new Date(seconds * 1000);
  return new Date(when.getTime() - when.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

// The parameters of `/logs` for the time of `state`, and for its filters unless `filtered` is false.
export function parameters(state, { filtered = true } = {}) {
  const { start, end } = span(state);
  const found = new URLSearchParams({ start_time: start.toFixed(3), leave_out_own: true });
  if (end) found.set("end_time", end);
  if (!filtered) return found;
  for (const name of activeFilters(state)) for (const [key, value] of Object.entries(filterParameters(name, state.get(name)))) found.set(key, value);
  return found;
}

function filterParameters(name, value) {
  if (name === "status") return Object.hasOwn(STATUSES, value) ? STATUSES[value][1] : { status_min: Number(value) || 0, status_max: Number(value) || 999 };
  const [parameter] = FILTERS[name];
  return { [parameter]: name === "route" && Object.hasOwn(ROUTES, value) ? ROUTES[value] : value };
}

export const activeFilters = (state) => Object.keys(FILTERS).filter((name) => state.has(name));
export const routeOf = (service) => Object.keys(ROUTES).find((route) => ROUTES[route] === service) ?? service;
