// The page Sessions: the requests of one conversation together; of one that was chosen, the agents that took part and each
// miss of the provider's cache.

import { ask, rowsOf } from "./ask.js";
import { link, make } from "./dom.js";
import { explainCache } from "./explain.js";
import { cacheShare, clock, count, duration, money, percent, price, promptTokens, shortId } from "./format.js";
import { PAGE, pageOf, Pager } from "./pager.js";
import { current, go, parameters, toView, withChanges } from "./state.js";
import { Table } from "./table.js";

const SUMS = [
  { name: "requests", title: "Requests", number: true, sort: (each) => each.requests, cell: (each) => count(each.requests) },
  { name: "failed", title: "Failed", number: true, wide: true, sort: (each) => 1 - each.succeeded / each.requests, cell: (each) => percent(each.requests - each.succeeded, each.requests) },
  { name: "in", title: "Tokens in", number: true, wide: true, sort: promptTokens, cell: (each) => count(promptTokens(each)) },
  { name: "out", title: "Tokens out", number: true, wide: true, sort: (each) => each.tokens_output, cell: (each) => count(each.tokens_output) },
  { name: "cache", title: "From cache", number: true, wide: true, sort: (each) => each.cache_read_tokens / (promptTokens(each) || 1), cell: cacheShare },
  { name: "misses", title: "Misses", number: true, wide: true, sort: (each) => each.cache_misses, cell: (each) => each.cache_misses || "" },
  { name: "cost", title: "Cost", number: true, sort: (each) => each.cost_usd, cell: (each) => money(each.cost_usd) },
];
const LASTED = { name: "lasted", title: "Lasted", number: true, wide: true, sort: (each) => each.newest - each.oldest, cell: (each) => duration((each.newest - each.oldest) * 1000) };
const MODELS = { name: "models", title: "Models", wide: true, cell: (each) => each.models.filter(Boolean).join(", ") };

const MOST_MISSES = 50;
const MISSES = [
  { name: "when", title: "Request", head: true, cell: (each) => link(withChanges({ request: each.request_id, page: current().get("page") }), clock(Date.parse(each.timestamp) / 1000, { withSeconds: true }), { className: "open" }) },
  { name: "agent", title: "Agent", wide: true, cell: (each) => (each.agent_id ? shortId(each.agent_id) : "main conversation") },
  { name: "missed", title: "Tokens", number: true, wide: true, cell: (each) => count(each.cache_missed_tokens) },
  { name: "more", title: "More than a hit", number: true, cell: (each) => price(each.cache_miss_usd) },
  { name: "why", title: "Why", cell: (each) => make("span", { title: explainCache(each) }, each.cache_explanation) },
];

export class Sessions {
  constructor() {
    this.title = "Sessions";
    this.table = new Table({
      caption: "Sessions", key: (each) => each.session_id, sorted: "last",
      empty: "No session in this time. Claude Code and Codex name theirs; other clients can send x-session-id.",
      opened: (id) => go(toView("requests", { session: id })),
      columns: [
        { name: "session", title: "Session", head: true, cell: (each) => link(toView("requests", { session: each.session_id }), shortId(each.session_id), { title: each.session_id, className: "open" }) },
        { name: "client", title: "Client", wide: true, sort: (each) => each.client_program, cell: (each) => each.client_program },
        { name: "folder", title: "Folder", wide: true, sort: (each) => each.working_directory, cell: (each) => make("span", { title: each.working_directory }, lastFolder(each.working_directory)) },
        { name: "token", title: "Token", wide: true, sort: (each) => each.caller, cell: (each) => each.caller },
        { name: "last", title: "Last request", sort: (each) => each.newest, cell: (each) => clock(each.newest) },
        LASTED, ...SUMS.map((column) => (column.name === "misses" ? { ...column, cell: (each) => (each.cache_misses ? this.toMisses(each) : "") } : column)),
        { name: "agents", title: "Agents", number: true, sort: (each) => each.agents, cell: (each) => (each.agents ? this.toAgents(each) : "") },
        MODELS,
      ],
    });
    this.agents = make("section", { id: "agents", hidden: true });
    this.pager = new Pager("Pages of sessions");
    this.bar = make("div", { className: "bar-row" }, this.pager.place, this.pager.limit, this.pager.steps);
    this.element = make("div", {}, this.agents, this.bar, this.table.element);
  }

  toAgents(each) {
    return link(withChanges({ session: each.session_id, page: current().get("page") }), count(each.agents), { ariaLabel: `The ${each.agents} agents of session ${shortId(each.session_id)}` });
  }

  toMisses(each) {
    const said = `The ${each.cache_misses} cache misses of session ${shortId(each.session_id)}`;
    return link(withChanges({ session: each.session_id, page: current().get("page") }), count(each.cache_misses), { ariaLabel: said, title: `${money(each.cache_miss_usd)} more than hits` });
  }

  async refresh(state) {
    const page = pageOf(state);
    const query = parameters(state, { filtered: false });
    const answer = await ask(`/logs/sessions?limit=${PAGE}&offset=${(page - 1) * PAGE}&${query}`);
    const rows = answer.results ?? [];
    this.table.show(rows);
    this.bar.hidden = !answer.total_count;
    this.pager.show(page, rows.length, answer.total_count, answer.searched_since);
    await this.showAgents(state, query);
  }

  // The agents of the session that the address names, each below the agent that started it.
  async showAgents(state, query) {
    const session = state.get("session");
    this.agents.hidden = !session;
    if (!session) return;
    const named = `session_id=${encodeURIComponent(session)}&${query}`;
    const [agents, answer] = await Promise.all([rowsOf(`/logs/agents?${named}`), ask(`/logs/entries?cache_missed=true&limit=${MOST_MISSES}&${named}`)]);
    const rows = inTree(agents);
    if (this.shownSession !== session) {
      this.shownSession = session;
      this.tree = new Table({
        caption: `Agents of session ${session}`, key: (each) => each.agent_id || "main", empty: "No request of this session in this time.", parameter: "none",
        columns: [{ name: "agent", title: "Agent", head: true, cell: (each) => indented(each, session) }, { ...LASTED, sort: null }, ...SUMS.map((column) => ({ ...column, sort: null })), MODELS],
      });
      this.misses = new Table({ caption: `Cache misses of session ${session}`, key: (each) => each.request_id, empty: "No request of this session missed the provider's cache in this time.", parameter: "none", columns: MISSES });
      const head = make("h2", { tabIndex: -1 }, `Agents of session ${shortId(session)} `, link(withChanges({ session: null }), "Close", { className: "step" }));
      this.agents.replaceChildren(head, this.tree.element, make("h3", { textContent: "Cache misses" }), this.misses.element);
      head.focus();
    }
    this.tree.show(rows);
    this.misses.show(answer.entries);
  }
}

// The last folder of a path: the whole path is the cell's title.
const lastFolder = (path) => path.split(/[\\/]/).filter(Boolean).at(-1) ?? path;

function indented(each, session) {
  const name = each.agent_id ? shortId(each.agent_id) : "main conversation";
  const depth = Math.min(each.depth, 6);
  return link(toView("requests", each.agent_id ? { session, agent: each.agent_id } : { session, agent: "" }), `${"– ".repeat(depth)}${name}`, { title: each.agent_id });
}

// The agents in the order of their tree, with their depth. An agent whose parent is not known is below the main
// conversation, and one that names itself or a descendant as its parent comes last.
export function inTree(agents) {
  const known = new Set(agents.map((each) => each.agent_id));
  const parent = (each) => (known.has(each.parent_agent_id) && each.parent_agent_id ? each.parent_agent_id : "");
  const found = [], placed = new Set();
  const place = (each, depth) => {
    if (placed.has(each.agent_id)) return;
    placed.add(each.agent_id);
    found.push({ ...each, depth });
    for (const child of agents) if (child.agent_id && parent(child) === each.agent_id) place(child, depth + 1);
  };
  for (const each of agents) if (!each.agent_id) place(each, 0);
  for (const each of agents) if (parent(each) === "") place(each, 1);
  for (const each of agents) place(each, 1);
  return found;
}
