// The page Requests: what was asked, newest first, from the store and as it happens.
//
// The rows always come from the store, so a reload or a restart shows the same; the live stream only says when to look
// again, and which requests still run.

import { ask } from "./ask.js";
import { Filters } from "./filters.js";
import { link, make } from "./dom.js";
import { hasFailed, otherModelAsked } from "./explain.js";
import { clock, count, duration, price, promptTokens, shortId, words } from "./format.js";
import { running } from "./live.js";
import { PAGE, pageOf, Pager } from "./pager.js";
import { current, parameters, routeOf, withChanges } from "./state.js";
import { Table } from "./table.js";

const AGAIN_MS = 700; // analytics stores what has ended a moment later
const SORTS = { took: "duration_ms", first: "first_byte_ms", cost: "cost_usd", in: "tokens" };
const RUNNING_FILTERS = { model: "model", client: "client_program", token: "caller", session: "session_id" };

const seconds = (record) => (typeof record.timestamp === "number" ? record.timestamp : Date.parse(record.timestamp) / 1000);
const ended = (record, text) => (record.type === "request_start" ? "" : text());

// A value that filters when it is clicked. The filters above the table do the same for the keyboard.
function value(name, of, text) {
  return (record) => {
    const content = of(record);
    return content === "" || content == null ? "" : link(withChanges({ [name]: content }), text ? text(record) : content, { className: "value", tabIndex: -1, title: `Only ${content}` });
  };
}

const COLUMNS = [
  { name: "time", title: "Time", head: true, cell: (record) => record.type === "request_start" ? clock(seconds(record), { withSeconds: true })
    : link(withChanges({ request: record.request_id, page: current().get("page") }), clock(seconds(record), { withSeconds: true }), { className: "open" }) },
  { name: "status", title: "Status", cell: (record) => record.type === "request_start" ? "running" : status(record) },
  { name: "client", title: "Client", cell: value("client", (record) => record.client_program), wide: true },
  { name: "token", title: "Token", cell: value("token", (record) => record.caller), wide: true },
  { name: "route", title: "Route", cell: value("route", (record) => routeOf(record.service_type), (record) => record.service_type === "gateway" ? record.path : routeOf(record.service_type)), wide: true },
  { name: "model", title: "Model", cell: value("model", (record) => record.model, model) },
  { name: "in", title: "In", number: true, sort: true, wide: true, cell: (record) => ended(record, () => (record.model ? count(promptTokens(record)) : "")) },
  { name: "out", title: "Out", number: true, wide: true, cell: (record) => ended(record, () => (record.model ? count(record.tokens_output) : "")) },
  { name: "cost", title: "Cost", number: true, sort: true, cell: (record) => ended(record, () => (record.cost_usd == null ? "" : price(record.cost_usd))) },
  { name: "took", title: "Took", number: true, sort: true, cell: (record) => ended(record, () => duration(record.duration_ms)) },
  { name: "first", title: "First byte", number: true, sort: true, wide: true, cell: (record) => ended(record, () => duration(record.first_byte_ms)) },
  { name: "session", title: "Session", cell: value("session", (record) => record.session_id, (record) => shortId(record.session_id)), wide: true },
];

// The served model, after the asked one where an alias or the provider chose another.
function model(record) {
  const asked = otherModelAsked(record);
  return asked ? `${asked} → ${record.model}` : record.model;
}

function status(record) {
  const text = record.error_kind ? `${record.status_code} ${words(record.error_kind)}` : String(record.status_code);
  const filter = record.error_kind ? { error: record.error_kind } : { status: String(record.status_code) };
  return link(withChanges(filter), text, { className: `value status ${hasFailed(record) ? "bad" : "good"}`, tabIndex: -1, title: record.error_message || "Only these" });
}

export class Log {
  constructor({ problem, open }) {
    this.title = "Requests";
    this.problem = problem;
    this.filters = new Filters();
    this.table = new Table({
      caption: "Requests", columns: COLUMNS, key: (record) => record.request_id, opened: open,
      empty: "No request matches. Requests appear here as they end; a longer time or fewer filters may find more.",
    });
    this.table.element.id = "log";
    this.live = make("input", { type: "checkbox", checked: true, id: "follow", onchange: () => this.live.checked && this.refresh(current()) });
    this.state = make("span", { className: "soft", id: "live-state" });
    this.state.setAttribute("role", "status");
    this.pager = new Pager("Pages of requests");
    this.csv = make("a", { textContent: "CSV", className: "step", id: "csv", download: "ccproxy-requests.csv", title: "All requests that match, as CSV" });
    const follow = make("label", { className: "follow" }, this.live, "Follow");
    const bar = make("div", { className: "bar-row" }, this.pager.place, this.pager.limit, follow, this.state, this.pager.steps, this.csv);
    this.element = make("div", {}, this.filters.element, bar, this.table.element);
    this.rows = [];
  }

  // The shell asks again from time to time, unless that would move what somebody reads.
  get paused() {
    return !this.live.checked || current().has("page");
  }

  async refresh(state) {
    const asked = String(state);
    const page = pageOf(state);
    const query = parameters(state);
    this.filters.show(state);
    this.csv.href = `/logs/export?format=csv&${query}`;
    query.set("limit", PAGE);
    query.set("offset", (page - 1) * PAGE);
    const sort = SORTS[(state.get("sort") ?? "").replace(/^-/, "")];
    if (sort) query.set("order_by", sort);
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const answer = await ask(`/logs/entries?${query}`);
    if (turn !== this.turn) return; // a later question was asked meanwhile
    this.flashing = this.asked === asked && page === 1;
    this.asked = asked;
    this.rows = answer.entries;
    this.pager.show(page, answer.entries.length, answer.total_count, answer.searched_since);
    this.draw(state);
    this.filters.offer(state);
  }

  draw(state) {
    const begun = state.has("page") || state.has("sort") || !this.live.checked ? [] : [...running.values()].filter((event) => wanted(event, state)).reverse();
    const stored = new Set(this.rows.map((record) => record.request_id));
    const rows = [...begun.filter((event) => !stored.has(event.request_id)), ...this.rows];
    this.table.show(rows, (record) => (record.type === "request_start" ? "running" : ""), { flash: this.flashing });
  }

  heard() {
    if (this.paused) return;
    // Many requests may begin and end before the screen is drawn again.
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      if (this.element.isConnected) this.draw(current());
    });
    this.again ||= setTimeout(() => {
      this.again = 0;
      if (this.element.isConnected) this.refresh(current()).catch(this.problem);
    }, AGAIN_MS);
  }

  connected(words) {
    this.state.textContent = this.live.checked ? words : "";
  }
}

// A request that runs has no status yet; the other filters are compared by value.
function wanted(event, state) {
  if (!event.provider || ["status", "error", "paid", "text", "agent", "asked", "endpoint"].some((name) => state.has(name)) || state.has("to")) return false;
  if (state.has("route") && routeOf(event.service_type) !== state.get("route")) return false;
  return Object.entries(RUNNING_FILTERS).every(([name, field]) => !state.has(name) || event[field] === state.get(name));
}
