// The shell of the dashboard: one page, whose view and filters are in its address.
//
// Links within the page change the address without a new load. Each view is made once, and asks again when the address
// changes, every REFRESH_MS, and when its page is looked at again.

import { Approvals, Attention } from "./approvals.js";
import { ask, rowsOf } from "./ask.js";
import { CaptureLine } from "./captures.js";
import { clients, models } from "./compare.js";
import { Detail } from "./detail.js";
import { link, make } from "./dom.js";
import { listen, start } from "./live.js";
import { Log } from "./log.js";
import { Overview, troubles } from "./overview.js";
import { Sessions } from "./sessions.js";
import { changed, current, go, hoursOf, RANGES, setUsualHours, toView, viewOf, withChanges } from "./state.js";
import { Workers } from "./workers.js";

const REFRESH_MS = 15_000, SOON_MS = 3000;
const HOUR = 3600;
const byId = (id) => document.getElementById(id);

const log = new Log({ problem: tellProblem, open: (id) => go(withChanges({ request: id, page: current().get("page") })) });
const MAKERS = {
  overview: () => new Overview(), requests: () => log, sessions: () => new Sessions(), clients, models,
  permissions: () => new Approvals({ problem: tellProblem, signals: attention.signals.element }), workers: () => new Workers(),
};
// The links of the page itself, so that nothing moves when this script arrives: [view, its link].
const LINKS = [...byId("views").children].map((element) => [viewOf(new URL(element.href).searchParams), element]);
const WITHOUT_TIME = ["permissions", "workers"];
const views = {};
let waiting = 0, shown = "", soon = 0;
let answered = null, opened = null; // the address of the answers on the page without the drawer's request, and that request

const capture = new CaptureLine(byId("capture"));
const detail = new Detail({ record: (id) => log.rows.find((record) => record.request_id === id), captured: (state) => capture.draw(state) });
const attention = new Attention({ changed: nowWaiting, settled: refreshSoon });

function tellProblem(error) {
  byId("problem").hidden = !error;
  byId("problem").textContent = error?.message ?? "";
}

// ---- the view that the address names --------------------------------------------------------------------------------

function name() {
  const wanted = viewOf(current());
  return Object.hasOwn(MAKERS, wanted) ? wanted : "overview";
}

async function show() {
  const view = (views[name()] ??= newView());
  const moved = shown !== name();
  shown = name();
  drawNavigation();
  drawRanges();
  byId("title").textContent = view.title;
  document.title = titled(view.title);
  if (view.element.parentElement !== byId("view")) byId("view").replaceChildren(view.element);
  // Another page has begun: a screen reader reads its title, and Tab goes on from there.
  if (moved && document.activeElement?.closest("nav")) byId("title").focus();
  if (view.queue) attention.moveTo(view.queue);
  view.waiting?.(waiting);
  detail.show(current()).catch(tellProblem);
  // The drawer is no part of the view: to open or close it leaves the answers on the page as they are.
  const before = opened;
  opened = current().get("request");
  if (opened !== before && answered === addressOfView()) return;
  await refresh();
}

// A new view shows its sections with their first answers, or after a moment: filled one after another, they would move
// each other.
function newView() {
  const view = MAKERS[name()]();
  view.element.classList.add("loading");
  return view;
}

function addressOfView() {
  const state = current();
  state.delete("request");
  return String(state);
}

// What the line above every view is made from. A view that shows more of it takes the same answers.
const askStack = () => ({ health: ask("/health"), outcomes: rowsOf("/logs/outcomes") });

async function refresh() {
  const view = views[shown], stack = askStack();
  answered = addressOfView();
  const [outcome] = await Promise.allSettled([view.refresh(current(), stack), refreshHealth(stack), capture.refresh()]);
  view.element.classList.remove("loading");
  if (view === views[shown]) tellProblem(outcome.reason);
}

function refreshSoon() {
  soon ||= setTimeout(() => {
    soon = 0;
    if (!document.hidden && shown !== "requests") refresh();
  }, SOON_MS);
}

const titled = (title) => `${waiting ? `(${waiting}) ` : ""}${title} · CCProxy`;

function drawNavigation() {
  for (const [view, element] of LINKS) {
    element.href = toView(view);
    if (view === shown) element.setAttribute("aria-current", "page");
    else element.removeAttribute("aria-current");
    if (view === "permissions") element.textContent = waiting ? `Permissions (${waiting})` : "Permissions";
  }
}

function drawRanges() {
  const chosen = !current().has("from") && !current().has("to");
  byId("ranges").hidden = WITHOUT_TIME.includes(shown);
  for (const input of byId("ranges").querySelectorAll("input")) input.checked = chosen && Number(input.value) === hoursOf(current());
}

function makeRanges() {
  for (const [hours, text] of RANGES) {
    const input = make("input", { type: "radio", name: "hours", value: hours, onchange: () => go(withChanges({ hours: String(hours), from: null, to: null })) });
    byId("ranges").append(make("label", {}, input, make("span", { textContent: text })));
  }
}

// ---- what stands above every view -----------------------------------------------------------------------------------

function nowWaiting(number) {
  waiting = number;
  document.title = titled(byId("title").textContent);
  if (shown) drawNavigation();
  views[shown]?.waiting?.(number);
}

// One short line: a longer one would move the actions of a waiting request. The overview and Workers have the details.
async function refreshHealth(stack) {
  const [health, outcomes] = await Promise.all([stack.health.catch(() => null), stack.outcomes.catch(() => [])]);
  const parts = Object.values(health?.checks ?? {}).flat().filter((check) => check.status !== "pass").length;
  const providers = troubles(outcomes);
  const bad = providers.some((each) => each.level === "fail");
  byId("health").className = !health || bad ? "fail" : providers.length && health.status === "pass" ? "warn" : health.status;
  const text = !health ? "The gateway does not answer" : parts ? (parts === 1 ? "1 part has a problem" : `${parts} parts have problems`) : providers.length ? "Requests fail at a provider" : "Everything is running";
  if (byId("health").textContent !== text) byId("health").replaceChildren(health && parts ? link(toView("workers"), text) : text);
  byId("version").textContent = health?.version ?? "";
}

// ---- the beginning --------------------------------------------------------------------------------------------------

// A newcomer has no records older than an hour; a day would show one bar at the edge.
async function chooseRange() {
  const { oldest } = await ask("/logs/status").catch(() => ({}));
  if (oldest === undefined) return;
  if (oldest === null || oldest > Date.now() / 1000 - HOUR) setUsualHours(1);
}

document.addEventListener("click", (event) => {
  const target = event.target.closest("a");
  const plain = event.button === 0 && !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey;
  if (!target || !plain || target.pathname !== "/dashboard" || target.origin !== location.origin || target.hash || target.hasAttribute("download")) return;
  event.preventDefault();
  go(target.pathname + target.search);
});
addEventListener("popstate", () => show());
document.addEventListener("visibilitychange", () => document.hidden || refresh());
changed(show);
makeRanges();
attention.listen();
listen((event) => {
  views[shown]?.heard?.(event);
  if (event.type !== "request_start" && event.provider) refreshSoon();
}, (words) => log.connected(words));
await chooseRange();
show();
start();
setInterval(() => document.hidden || (views[shown].paused ? refreshHealth(askStack()) : refresh()), REFRESH_MS);
