// The pages Clients and Models: tables that compare programs, tokens, models, providers and errors side by side.

import { ask, rowsOf } from "./ask.js";
import { link, make, section } from "./dom.js";
import { COUNTED, downloads } from "./download.js";
import { cacheShare, clock, count, duration, money, percent, promptTokens, words } from "./format.js";
import { includedText } from "./included.js";
import { parameters, toView } from "./state.js";
import { Table } from "./table.js";

const number = (name, title, sort, cell, wide = true) => ({ name, title, number: true, wide, sort, cell });
const VALUES = [
  number("requests", "Requests", (each) => each.requests, (each) => count(each.requests), false),
  number("failed", "Failed", (each) => 1 - each.succeeded / each.requests, (each) => percent(each.requests - each.succeeded, each.requests), false),
  number("median", "Median", (each) => each.duration_p50_ms, (each) => duration(each.duration_p50_ms)),
  number("slow", "95th percentile", (each) => each.duration_p95_ms, (each) => duration(each.duration_p95_ms)),
  number("first", "First byte", (each) => each.first_byte_p50_ms, (each) => duration(each.first_byte_p50_ms)),
  number("in", "Tokens in", promptTokens, (each) => count(promptTokens(each))),
  number("out", "Tokens out", (each) => each.tokens_output, (each) => count(each.tokens_output)),
  number("cache", "From cache", (each) => each.cache_read_tokens / (promptTokens(each) || 1), cacheShare),
  number("cost", "Cost", (each) => each.cost_usd, (each) => (each.cost_usd || !each.unpriced_tokens ? money(each.cost_usd) : "no price"), false),
  number("last", "Last", (each) => each.newest, (each) => clock(each.newest)),
];
// By the column of `/logs/groups`: the heading, the filter of its requests, the name of the empty value, and other wants.
const PARTS = {
  client_program: ["Programs", "client", "unknown program", {}],
  caller: ["Tokens", "token", "no token", {}],
  model: ["Models", "model", "no model", {}],
  provider: ["Providers", "provider", "none: refused here", {}],
  error_kind: ["Errors", "error", "", { failed: true }],
};

class Compare {
  constructor(title, parts) {
    this.title = title;
    this.parts = parts.map((by) => [by, this.table(by)]);
    this.rows = {}; // by the column of a part, as its table shows them
    this.downloads = Object.fromEntries(parts.map((by) => [by, downloads(PARTS[by][0].toLowerCase(), { name: (each) => each.name, ...COUNTED }, () => this.rows[by] ?? [])]));
    this.element = make("div", {}, ...this.parts.map(([by, table]) => section(PARTS[by][0], table.element, this.downloads[by])));
  }

  table(by) {
    const [title, filter, nameless] = PARTS[by];
    const name = { name: "name", title: title.slice(0, -1), head: true, sort: (each) => each.name, cell: (each) => link(toView("requests", { [filter]: each.name }), words(each.name) || nameless) };
    const table = new Table({ caption: title, columns: [name, ...VALUES], key: (each) => each.name || "none", sorted: "requests", empty: "None in this time." });
    table.element.id = `by-${by}`;
    return table;
  }

  async refresh(state) {
    const found = await Promise.all(this.parts.map(([by]) => {
      const query = parameters(state, { filtered: false });
      for (const [name, value] of Object.entries(PARTS[by][3])) query.set(name, value);
      return rowsOf(`/logs/groups?by=${by}&${query}`);
    }));
    this.parts.forEach(([by, table], at) => {
      this.rows[by] = by === "error_kind" ? found[at].filter((each) => each.name) : found[at];
      this.downloads[by].hidden = !this.rows[by].length;
      table.show(this.rows[by]);
    });
  }
}

// The page Models: above the comparisons, what the subscriptions paid for.
class Models extends Compare {
  constructor() {
    super("Models", ["model", "provider", "error_kind"]);
    this.included = make("p", { className: "soft", id: "included" });
    this.element.prepend(this.included);
  }

  async refresh(state) {
    const [analytics, usage] = await Promise.all([ask(`/logs/analytics?${parameters(state, { filtered: false })}`), ask("/usage"), super.refresh(state)]);
    this.included.textContent = includedText(analytics.billed_to_breakdown.subscription, usage);
  }
}

// The page Clients: beside the comparisons, the limits of tokens and how much of each is used.
class Clients extends Compare {
  constructor() {
    super("Clients", ["client_program", "caller"]);
    this.limits = new Table({
      caption: "Limits of tokens", key: (each) => `${each.token} ${each.limit} ${each.provider}`, sorted: "used", parameter: "limits",
      empty: "No token has limits. `ccproxy token limits NAME --limit $5/day` sets one.",
      columns: [
        { name: "token", title: "Token", head: true, sort: (each) => each.token, cell: (each) => link(toView("requests", { token: each.token }), each.token) },
        { name: "limit", title: "Limit", cell: (each) => [each.limit, each.provider].filter(Boolean).join(" of ") },
        { name: "used", title: "Used", number: true, sort: (each) => each.used_percent, cell: (each) => `${Math.floor(each.used_percent)} %` },
        { name: "resets", title: "Resets", number: true, sort: (each) => each.resets_at, cell: (each) => clock(each.resets_at) },
        { name: "active", title: "Active", number: true, wide: true, cell: (each) => (each.at_once ? `${each.active} of ${each.at_once}` : count(each.active)) },
      ],
    });
    this.limits.element.id = "limits";
    this.element.append(section("Limits", this.limits.element));
  }

  async refresh(state) {
    const [{ tokens }] = await Promise.all([ask("/usage/limits"), super.refresh(state)]);
    const rows = tokens.flatMap(({ name, limits, ...token }) => limits.map((limit) => ({ ...token, ...limit, token: name })));
    this.limits.show(rows, (each) => (each.used_percent >= 100 ? "fail" : each.used_percent >= 80 ? "warn" : ""));
  }
}

export const clients = () => new Clients();
export const models = () => new Models();
