// The page Overview: what works, what is left of each subscription, what today costs, and what happens now.

import { ask } from "./ask.js";
import { Chart, gauge, spark } from "./charts.js";
import { link, make, refill, section } from "./dom.js";
import { COUNTED, downloads } from "./download.js";
import { because } from "./explain.js";
import { ago, cacheShare, clock, count, duration, exactly, money, percent, promptTokens, words } from "./format.js";
import { includedText } from "./included.js";
import { running } from "./live.js";
import { noticeText } from "./notices.js";
import { go, localMinute, parameters, routeOf, span, toView } from "./state.js";
import { Table } from "./table.js";

const HOUR = 3600;
// Seconds each bar covers, by the hours shown: round steps, about sixty of them.
const STEPS = [[0.25, 15], [1, 60], [3, 180], [6, 360], [12, 720], [24, 1800], [72, HOUR], [168, 3 * HOUR], [720, 12 * HOUR]];
const LAST_FAILURES = 5, LAST_NOTICES = 5;
const PROVIDERS = { claude: "Claude", codex: "Codex", sdk: "Claude Code (/sdk)" };

// The providers in trouble by their last requests: [{level, text, provider}].
export function troubles(outcomes) {
  return outcomes.flatMap(({ provider, level, requests, failed, error_kind: kind, error_message: message, last_failure: failure }) => {
    if (level === "pass") return [];
    const text = `${PROVIDERS[provider] ?? provider}: ${failed} of the last ${requests} requests failed: ${because(kind, message)}`;
    return [{ level, provider, text, last: failure }];
  });
}

// A wait in front of a provider, in words; empty for a request that is at its provider.
export function waitText(wait) {
  if (!wait) return "";
  if (wait.waits_for === "place") return "for a free place";
  // The row names the route, and with it the provider.
  return `until ${clock(wait.until)}, ${wait.limit.replace(/^the | of (claude|codex)$/g, "")}`;
}

export class Overview {
  constructor() {
    this.title = "Overview";
    this.queue = make("div");
    this.quota = make("div", { className: "cards", id: "quota" });
    this.sums = make("dl", { className: "sums", id: "sums" });
    this.trouble = make("ul", { className: "troubles", id: "troubles", hidden: true });
    this.trouble.setAttribute("role", "list");
    this.notices = make("ul", { className: "notices" });
    this.notices.setAttribute("role", "list");
    this.noticed = section("Notices", this.notices);
    this.noticed.id = "notices";
    this.noticed.hidden = true;
    const chart = (title) => new Chart(title, { open: (start) => this.open(start) });
    this.charts = { requests: chart("Requests"), tokens: chart("Tokens"), cost: chart("Cost by list price"), latency: chart("Time to the last byte"), "first-byte": chart("Time to the first byte") };
    for (const [id, each] of Object.entries(this.charts)) each.element.id = id;
    this.over = make("section", { className: "charts", ariaLabel: "Over time" }, ...Object.values(this.charts).map((each) => each.element));
    this.running = this.list("running", "Running now", "Nothing runs now.", [
      { name: "since", title: "Since", head: true, cell: (event) => clock(event.timestamp, { withSeconds: true }) },
      { name: "client", title: "Client", cell: (event) => event.client_program || event.caller },
      { name: "route", title: "Route", cell: (event) => routeOf(event.service_type), wide: true },
      { name: "model", title: "Model", cell: (event) => event.model },
      { name: "waits", title: "Waits", cell: (event) => waitText(this.waits.get(event.request_id)) }]);
    this.waits = new Map(); // the requests that wait in front of a provider, by id
    this.failures = this.list("failures", "Last failures", "No request failed in this time.", [
      { name: "time", title: "Time", head: true, cell: (record) => link(toView("requests", { status: "failed", request: record.request_id }), clock(Date.parse(record.timestamp) / 1000, { withSeconds: true })) },
      { name: "model", title: "Model", cell: (record) => record.model || record.path },
      { name: "error", title: "Error", cell: (record) => `${record.status_code} ${words(record.error_kind)}` }]);
    this.paid = make("p", { className: "soft", id: "paid" });
    this.included = make("p", { className: "soft", id: "included" });
    this.steps = []; // of the charts, as the stack answered them
    const columns = { start: (each) => new Date(each.start * 1000).toISOString(), ...COUNTED };
    this.downloads = downloads("usage-over-time", columns, () => this.steps);
    this.hint = make("p", { className: "note", id: "hint", hidden: true, textContent: `No request in this time. "ccproxy run -- claude" starts Claude Code through CCProxy; other clients reach Claude at ${location.origin}/api, ChatGPT at ${location.origin}/codex and Claude Code at ${location.origin}/sdk.` });
    this.element = make("div", {}, this.queue, this.trouble, this.noticed, section("Subscriptions", this.quota), section("In this time", this.hint, this.sums, this.included, this.paid),
      this.over, this.downloads,
      make("div", { className: "pair" }, section("Running now", this.running.element), section("Last failures", this.failures.element)));
  }

  list(id, caption, empty, columns) {
    const table = new Table({ caption, columns, empty, key: (row) => row.request_id });
    table.element.id = id;
    return table;
  }

  // A step of a chart, as the requests in it.
  open(start) {
    go(toView("requests", { from: localMinute(start), to: localMinute(start + Math.max(this.bucket, 60)) }));
  }

  async refresh(state, stack) {
    const query = parameters(state, { filtered: false });
    const bucket = this.step(state);
    const midnight = new Date().setHours(0, 0, 0, 0) / 1000;
    const today = new URLSearchParams({ start_time: midnight, leave_out_own: true });
    this.showNotices();
    const [timeline, analytics, usage, outcomes, failures, day, waiting] = await Promise.all([
      ask(`/logs/timeline?bucket=${bucket}&${query}`), ask(`/logs/analytics?${query}`), ask("/usage"), stack.outcomes,
      ask(`/logs/entries?limit=${LAST_FAILURES}&failed=true&${query}`), ask(`/logs/analytics?${today}`), ask("/usage/waiting")]);
    this.showTroubles(troubles(outcomes));
    this.showQuota(usage.quota, usage.billing_orders);
    this.showSums(analytics, day, usage);
    this.steps = timeline.results ?? [];
    this.downloads.hidden = this.over.hidden = !this.steps.length; // five empty charts say nothing
    this.bucket = timeline.bucket;
    this.drawCharts(timeline, span(state));
    this.failures.show(failures.entries);
    this.waits = new Map(waiting.requests.map((each) => [each.request_id, each]));
    this.heard();
  }

  step(state) {
    const { start, end } = span(state);
    const hours = ((end ?? Date.now() / 1000) - start) / HOUR;
    return (STEPS.find(([upTo]) => hours <= upTo * 1.01) ?? STEPS.at(-1))[1];
  }

  heard() {
    // A request that waits may have begun before this page heard of any.
    const rows = new Map([...this.waits.values()].map((each) => [each.request_id, { ...each, timestamp: each.since, service_type: each.provider }]));
    for (const [id, event] of running) if (event.provider) rows.set(id, event);
    this.running.show([...rows.values()]);
  }

  showTroubles(found) {
    this.trouble.hidden = !found.length;
    refill(this.trouble, JSON.stringify(found), () => found.map(({ level, provider, text, last }) =>
      make("li", { className: level }, `${text} `, link(toView("requests", { provider, status: "failed" }), `Show them, the last ${ago(last)}`))));
  }

  // Beside the rest: a token that may not answer requests does not see them, and neither does anybody while Redis is away.
  async showNotices() {
    const { notices } = await ask("/permissions/notices").catch(() => ({ notices: [] }));
    const latest = notices.slice(0, LAST_NOTICES);
    this.noticed.hidden = !latest.length;
    refill(this.notices, JSON.stringify(latest), () => latest.map((each) => {
      const at = Date.parse(each.at) / 1000;
      return make("li", { className: each.type }, make("time", { dateTime: each.at, title: exactly(at), textContent: clock(at) }), make("span", { textContent: noticeText(each) }));
    }));
  }

  showSums({ summary, request_analytics: requests, token_analytics: tokens, billed_to_breakdown: billings }, day, usage) {
    const prompt = { tokens_input: tokens.input_tokens, cache_read_tokens: tokens.cache_read_tokens, cache_write_tokens: tokens.cache_write_tokens };
    const unknown = summary.unpriced_tokens ? `${count(summary.unpriced_tokens)} tokens have no known price` : "by list price";
    const included = day.billed_to_breakdown.subscription?.total_cost_usd ?? 0;
    const paid = (each) => (each.api_key?.total_cost_usd ?? 0) + (each.extra_usage?.total_cost_usd ?? 0);
    const sums = [
      ["Requests", count(requests.total_requests), "", {}],
      ["Failed", percent(requests.error_requests, requests.total_requests), requests.error_requests ? `${count(requests.error_requests)} requests` : "", requests.error_requests ? { status: "failed" } : null],
      ["Tokens in", count(promptTokens(prompt)), promptTokens(prompt) ? `${cacheShare(prompt)} from the cache` : ""],
      ["Tokens out", count(tokens.output_tokens), ""],
      ["Took on average", requests.total_requests ? duration(summary.avg_duration_ms) : "–", ""],
      ["Cost", money(summary.total_cost_usd), unknown],
      ["Cost today", money(day.summary.total_cost_usd), "since midnight"],
      ["Paid by your subscription", money(included), "today, at list prices"],
    ];
    const text = JSON.stringify(sums);
    refill(this.sums, text, () => sums.map(([name, value, more, filter]) => make("div", {}, make("dt", { textContent: name }),
      make("dd", {}, filter ? link(toView("requests", filter), value) : value, make("small", { textContent: more })))));
    this.hint.hidden = requests.total_requests > 0;
    this.included.textContent = includedText(billings.subscription, usage);
    this.paid.textContent = paid(billings) ? `Paid with API keys and extra usage in this time: ${money(paid(billings))} by list price.` : "";
  }

  drawCharts({ results = [], bucket, start_time: start }, { end }) {
    const known = new Map(results.map((each) => [each.start, each]));
    // Steps lie at multiples of their length, so the first one begins before the shown time.
    const first = results.length ? results[0].start - Math.ceil((results[0].start - start) / bucket) * bucket : Math.floor(start / bucket) * bucket;
    const starts = [];
    for (let at = first; at <= (end ?? Date.now() / 1000); at += bucket) starts.push(at);
    const values = (read, empty = 0) => starts.map((at) => (known.has(at) ? read(known.get(at)) : empty));
    const draw = (id, format, stacked, ...series) => this.charts[id].draw({ starts, bucket, format, stacked, series: series.map(([name, style, read]) => ({ name, style, values: values(read, stacked ? 0 : null) })) });
    draw("requests", count, true, ["answered", "s0", (each) => each.succeeded], ["failed", "sbad", (each) => each.requests - each.succeeded]);
    draw("tokens", count, true, ["from cache", "s1", (each) => each.cache_read_tokens], ["in", "s0", (each) => each.tokens_input], ["to cache", "s3", (each) => each.cache_write_tokens], ["out", "s2", (each) => each.tokens_output]);
    draw("cost", money, true, ["dollars", "s2", (each) => each.cost_usd]);
    for (const [id, field] of [["latency", "duration"], ["first-byte", "first_byte"]])
      draw(id, duration, false, ["median", "s0", (each) => each[`${field}_p50_ms`]], ["95th percentile", "s2", (each) => each[`${field}_p95_ms`]]);
  }

  showQuota(quotas, orders = []) {
    const now = Date.now() / 1000;
    const windows = quotas.flatMap((quota) => quota.windows.map((window) => ({ quota, window })));
    const none = "No subscription has reported its limits yet: they come with the first reply. Requests paid with an API key have none.";
    refill(this.quota, JSON.stringify([windows, orders]) + Math.floor(now / 60), () => [
      ...(windows.length ? windows.map(({ quota, window }) => quotaCard(quota, window, now)) : [make("p", { className: "note", textContent: none })]),
      ...orders.map((order) => keyCard(order, now))]);
  }
}

// An API key that pays while a window is used up: how much of its daily limit is spent, and whether it pays now.
function keyCard(order, now) {
  const used = 100 * order.spent_today_usd / order.usd_per_day, level = used >= 100 ? "full" : used >= 80 ? "near" : "";
  const until = Math.max(0, ...order.used_up.filter((each) => each.key_paid_since && each.until > now).map((each) => each.until));
  const state = used >= 100 ? `at its limit until ${clock(order.day_ends_at)}` : until ? `pays until ${clock(until)}` : "waits until a window is used up";
  return make("article", { className: `card ${level}` },
    make("h3", {}, make("span", { textContent: `${PROVIDERS[order.provider] ?? order.provider} · API key today` }), make("strong", { className: level, textContent: money(order.spent_today_usd) })),
    gauge(Math.min(100, used)), make("p", { textContent: `Of ${money(order.usd_per_day)}; ${state}` }));
}

function quotaCard(quota, window, now) {
  const used = window.used_percent, level = used >= 100 ? "full" : used >= 80 || window.empty_at ? "near" : "";
  const ends = window.resets_at > now ? `Resets ${clock(window.resets_at)}` : "Was reset";
  const empty = window.empty_at == null ? "lasts at this pace" : window.empty_at <= now + 1 ? "used up" : `empty at ${clock(window.empty_at)} at this pace`;
  const card = make("article", { className: `card ${level}` },
    make("h3", {}, make("span", { textContent: `${PROVIDERS[quota.provider] ?? quota.provider} · ${words(window.window)}` }), make("strong", { className: level, textContent: `${used.toFixed(used < 10 ? 1 : 0)} %` })),
    gauge(used), make("p", { textContent: `${ends}, ${empty}` }));
  if (quota.extra_usage) card.append(make("p", { className: "bad", textContent: "Extra usage is being paid for." }));
  if (window.readings.length > 2) card.append(spark(window.readings));
  return card;
}
