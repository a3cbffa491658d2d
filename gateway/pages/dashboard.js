// The owner's dashboard: asks the gateway every few seconds, listens to requests as they end, and draws what it hears.

import { draw, gauge, spark } from "./charts.js";
import { make, RequestQueue } from "./requests.js";

const $ = (id) => document.getElementById(id);
const LIVE_ROWS = 60, REFRESH_MS = 15000, SOON_MS = 3000, RETRY_MS = 2000;

const compact = new Intl.NumberFormat([], { notation: "compact", maximumFractionDigits: 1 });
const exact = new Intl.NumberFormat();
const count = (value) => (value < 10000 ? exact.format(Math.round(value)) : compact.format(value));
const money = (value) => (value > 0 && value < 0.1 ? `$${value.toPrecision(2)}` : `$${value.toLocaleString([], { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`);
const duration = (ms) => (ms == null ? "–" : ms < 1000 ? `${Math.round(ms)} ms` : ms < 60000 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(ms / 60000)} min ${Math.round((ms % 60000) / 1000)} s`);
const percent = (part, whole) => (whole ? `${((part / whole) * 100).toFixed(part / whole < 0.1 ? 1 : 0)} %` : "–");

function clock(seconds) {
  const when = new Date(seconds * 1000), today = when.toDateString() === new Date().toDateString();
  return when.toLocaleString([], { hour: "2-digit", minute: "2-digit", ...(today ? {} : { weekday: "short", day: "numeric", month: "short" }) });
}

async function ask(path, options) {
  const answer = await fetch(path, { headers: { "content-type": "application/json" }, ...options });
  if (answer.status === 401) location.assign(`/signin?next=${encodeURIComponent(location.pathname)}`); // signed out
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(body.error?.message ?? `${path}: HTTP ${answer.status}`), { status: answer.status });
  return body;
}

// ---- what has happened ----------------------------------------------------------------------------------------------

let shown = { hours: 24, timeline: null };

async function refresh() {
  const hours = shown.hours;
  const chosen = `hours=${hours}&service_type=!gateway`; // without our own questions
  const parts = await Promise.allSettled([ask(`/logs/timeline?${chosen}`), ask(`/logs/analytics?${chosen}`), ask("/usage"), ask("/health")]);
  if (hours !== shown.hours) return;
  const [timeline, analytics, usage, health] = parts.map((part) => part.value);
  tellProblem(parts.slice(0, 2).find((part) => part.reason)?.reason.message ?? "");
  if (timeline) drawCharts((shown.timeline = timeline));
  if (analytics) { showSums(analytics, timeline); showTables(analytics); }
  if (usage) showQuota(usage.quota);
  showHealth(health);
}

let soon = 0;
function refreshSoon() {
  soon ||= setTimeout(() => { soon = 0; refresh(); }, SOON_MS);
}

function tellProblem(message) {
  $("problem").hidden = !message;
  $("problem").textContent = message;
}

function showHealth(health) {
  const element = $("health");
  element.className = health?.status ?? "fail";
  const troubled = Object.entries(health?.checks ?? {}).flatMap(([name, found]) => found.filter((check) => check.status !== "pass").map((check) => `${name.replaceAll("_", " ")}: ${check.output}`));
  // One short line in the header: a longer one would move the actions of a waiting request.
  const summary = troubled.length === 1 ? "1 part has a problem" : `${troubled.length} parts have problems`;
  element.textContent = !health ? "The gateway does not answer" : troubled.length ? summary : "Everything is running";
  $("trouble").textContent = troubled.join(" · ");
  $("trouble").hidden = !troubled.length;
  $("version").textContent = health?.version ?? "";
  const processes = Object.entries(health?.checks ?? {}).flatMap(([, found]) => found.flatMap((check) => check.processes ?? []));
  $("processes").replaceChildren(...processes.map((process) => row([process.service, process.instance, [process.pid], clock(process.started_at), says(process)])));
}

function says({ service, instance, pid, started_at, beat, program, problem, ...facts }) {
  return problem || Object.entries(facts).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`).join(" · ");
}

function showSums({ summary, request_analytics: requests, token_analytics: tokens, billed_to_breakdown: billings }, timeline) {
  const prompt = tokens.input_tokens + tokens.cache_read_tokens + tokens.cache_write_tokens;
  const paid = (billings.api_key?.total_cost_usd ?? 0) + (billings.extra_usage?.total_cost_usd ?? 0);
  const unknown = summary.unpriced_tokens ? `${count(summary.unpriced_tokens)} tokens without a known price` : "by list price";
  const sums = [
    ["Requests", count(requests.total_requests)],
    ["Failed", percent(requests.error_requests, requests.total_requests)],
    ["Tokens in", count(prompt)],
    ["Tokens out", count(tokens.output_tokens)],
    ["Read from cache", percent(tokens.cache_read_tokens, prompt)],
    ["Worth", money(summary.total_cost_usd), unknown],
    ["Paid", money(paid), "keys and extra usage"],
    ["Took on average", duration(summary.avg_duration_ms)],
  ];
  $("sums").replaceChildren(...sums.map(([name, value, more]) => make("div", {}, make("dt", { textContent: name }), make("dd", {}, value, ...(more ? [make("small", { textContent: more })] : [])))));
}

function drawCharts({ results = [], bucket, start_time }) {
  const known = new Map(results.map((each) => [each.start, each]));
  const first = results[0]?.start ?? start_time, starts = [];
  for (let at = first - Math.floor((first - start_time) / bucket) * bucket; at <= Date.now() / 1000; at += bucket) starts.push(at);
  const values = (read, empty = 0) => starts.map((at) => (known.has(at) ? read(known.get(at)) : empty));
  const common = { starts, bucket };
  draw($("requests"), { ...common, stacked: true, format: count, series: [
    { name: "answered", style: "s0", values: values((each) => each.succeeded) },
    { name: "failed", style: "sbad", values: values((each) => each.requests - each.succeeded) }] });
  draw($("tokens"), { ...common, stacked: true, format: count, series: [
    { name: "from cache", style: "s1", values: values((each) => each.cache_read_tokens) },
    { name: "in", style: "s0", values: values((each) => each.tokens_input) },
    { name: "to cache", style: "s3", values: values((each) => each.cache_write_tokens) },
    { name: "out", style: "s2", values: values((each) => each.tokens_output) }] });
  draw($("cost"), { ...common, stacked: true, format: money, series: [{ name: "dollars", style: "s2", values: values((each) => each.cost_usd) }] });
  for (const [id, field] of [["latency", "duration"], ["first-byte", "first_byte"]])
    draw($(id), { ...common, format: duration, series: [
      { name: "median", style: "s0", values: values((each) => each[`${field}_p50_ms`], null) },
      { name: "95th percentile", style: "s2", values: values((each) => each[`${field}_p95_ms`], null) }] });
}

function showTables(analytics) {
  const spent = (each) => (each.total_cost_usd || !each.unpriced_tokens ? money(each.total_cost_usd) : "unknown");
  const columns = [["Requests", (each) => count(each.request_count)], ["Tokens", (each) => count(each.total_tokens)], ["Cost", spent]];
  const named = { model: "Models", caller: "Callers", billed_to: "Who pays" };
  for (const [part, title] of Object.entries(named)) table($(`by-${part}`), title, analytics[`${part}_breakdown`], columns);
  const { "": _, ...errors } = analytics.error_kind_breakdown;
  table($("by-error"), "Errors", errors, [["Requests", (each) => count(each.request_count)], ["Took", (each) => duration(each.avg_duration_ms)]]);
}

function table(element, title, breakdown, columns) {
  const found = Object.entries(breakdown).slice(0, 12);
  const head = make("tr", {}, make("th"), ...columns.map(([name]) => make("th", { className: "number", textContent: name })));
  const rows = found.map(([name, each]) => row([name.replaceAll("_", " ") || "no token", ...columns.map(([, read]) => [read(each)])]));
  element.replaceChildren(make("h2", { textContent: title }), found.length ? make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)) : make("p", { className: "note", textContent: "None." }));
}

// A cell in brackets is a number.
function row(cells) {
  return make("tr", {}, ...cells.map((cell) => (Array.isArray(cell) ? make("td", { className: "number", textContent: cell[0] }) : make("td", { textContent: cell, title: cell.length > 24 ? cell : "" }))));
}

function showQuota(quotas) {
  const now = Date.now() / 1000;
  const cards = quotas.flatMap((quota) => quota.windows.map((window) => quotaCard(quota, window, now)));
  $("quota").replaceChildren(...(cards.length ? cards : [make("p", { className: "note", textContent: "No subscription has told its limits yet; they come with the first reply. Requests paid by an API key have none." })]));
}

function quotaCard(quota, window, now) {
  const used = window.used_percent, level = used >= 100 ? "full" : used >= 80 || window.empty_at ? "near" : "";
  const ends = window.resets_at > now ? `Resets ${clock(window.resets_at)}` : "Was reset";
  const empty = window.empty_at == null ? "lasts at this pace" : window.empty_at <= now + 1 ? "used up" : `empty at ${clock(window.empty_at)} at this pace`;
  const card = make("article", { className: `card ${level}` },
    make("h3", {}, make("span", { textContent: `${quota.provider} · ${window.window.replace("_", " ")}` }), make("strong", { className: level, textContent: `${used.toFixed(used < 10 ? 1 : 0)} %` })),
    gauge(used), make("p", { textContent: `${ends}, ${empty}` }));
  if (quota.extra_usage) card.append(make("p", { className: "bad", textContent: "Extra usage is being paid for" }));
  if (window.readings.length > 2) card.append(spark(window.readings));
  return card;
}

// ---- what happens now -----------------------------------------------------------------------------------------------

function listen() {
  const source = new EventSource("/logs/stream");
  source.onopen = () => ($("live-state").textContent = "live");
  source.onmessage = (message) => {
    const event = JSON.parse(message.data);
    if (event.type === "request_start") showBegun(event);
    else if (event.provider) { showRequest(event); refreshSoon(); }
    else if (event.type === "overflow") $("live-state").textContent = `live, ${event.missed} not shown`;
  };
  source.onerror = () => {
    $("live-state").textContent = "not connected, trying again";
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, RETRY_MS);
  };
}

function showBegun(event) {
  prepend(row([new Date(event.timestamp * 1000).toLocaleTimeString(), "running", [""], [""], event.path, event.model, [""], [""], [""], event.caller, ""]), event, "running");
}

// The served model, after the asked one where an alias or the provider chose another.
function modelOf(event) {
  return event.asked_model && event.model && event.asked_model !== event.model ? `${event.asked_model} → ${event.model}` : event.model;
}

function prepend(added, event, state) {
  $("nothing").hidden = true;
  [...$("rows").children].find((there) => there.dataset.request === event.request_id)?.remove();
  added.className = state;
  added.dataset.request = event.request_id;
  $("rows").prepend(added);
  while ($("rows").children.length > LIVE_ROWS) $("rows").lastChild.remove();
}

function showRequest(event) {
  const failed = event.type === "request_error";
  const inward = event.tokens_input + event.cache_read_tokens + event.cache_write_tokens;
  const added = row([new Date(event.timestamp * 1000).toLocaleTimeString(), String(event.status_code) + (event.error_kind ? ` ${event.error_kind}` : ""), [duration(event.duration_ms)], [duration(event.first_byte_ms)],
    event.endpoint, modelOf(event), [event.model ? count(inward) : ""], [event.model ? count(event.tokens_output) : ""], [event.cost_usd == null ? "" : money(event.cost_usd)], event.caller, event.billed_to.replace("_", " ")]);
  if (failed) { added.children[1].className = "bad"; added.children[1].title = event.error_message; }
  prepend(added, event, "new");
}

// ---- what waits for a person ----------------------------------------------------------------------------------------

const queue = new RequestQueue($("prompts"), {
  respond,
  changed(count) {
    $("permissions").hidden = !count;
    document.title = count ? `(${count}) CCProxy` : "CCProxy";
  },
});

function attend() {
  const source = new EventSource("/permissions/stream");
  source.addEventListener("permission_request", (message) => queue.add(JSON.parse(message.data)));
  for (const name of ["permission_resolved", "permission_expired", "permission_cancelled"])
    source.addEventListener(name, (message) => queue.remove(JSON.parse(message.data).request_id));
  source.onerror = () => source.readyState === EventSource.CLOSED && ($("permissions").hidden = true); // this token may not answer
}

async function respond(request, body) {
  try {
    await ask(`/permissions/${encodeURIComponent(request.request_id)}/respond`, { method: "POST", body: JSON.stringify(body) });
    return "";
  } catch (error) {
    if (error.status === 409 || error.status === 404) queue.remove(request.request_id);
    return error.message;
  }
}

// ---- the beginning --------------------------------------------------------------------------------------------------

function every(milliseconds, work) {
  const again = () => document.hidden || work();
  setInterval(again, milliseconds);
  document.addEventListener("visibilitychange", again);
  work();
}

$("ranges").addEventListener("change", (event) => {
  shown = { hours: Number(event.target.value), timeline: null };
  refresh();
});
let resizing;
addEventListener("resize", () => {
  clearTimeout(resizing);
  resizing = setTimeout(() => shown.timeline && drawCharts(shown.timeline), 150);
});
every(REFRESH_MS, refresh);
listen();
attend();
