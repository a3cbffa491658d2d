// The page for a phone: what waits, one request at a time, and what became of those before.

import { Signals } from "./signals.js";
import { make } from "./dom.js";
import { noticeText } from "./notices.js";
import { namesInForce, Profiles } from "./profiles.js";
import { Push } from "./push.js";
import { outcome, RequestQueue } from "./requests.js";

const SETTLED_SHOWN = 20;
const SAME_CLOCK_MS = 2000; // a Date header has whole seconds
const byId = (id) => document.getElementById(id);
let lastEvent = null;

function headers(more) {
  const token = sessionStorage.getItem("ccproxy-token");
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

// Ask the gateway, and return its answer. Throws an error with the gateway's words.
async function ask(path, options = {}) {
  const reply = await fetch(path, { ...options, headers: headers(options.body ? { "content-type": "application/json" } : {}) });
  const body = await reply.json().catch(() => ({}));
  if (!reply.ok) throw new Error(body.error?.message ?? `HTTP ${reply.status}`);
  return body;
}

const post = (path, body) => ask(path, { method: "POST", body: JSON.stringify(body) });

const push = new Push(ask);
const signals = new Signals(push);
byId("signals").replaceWith(signals.element);

const queue = new RequestQueue(byId("queue"), {
  respond,
  preview: (request, scope) => post(`/permissions/${encodeURIComponent(request.request_id)}/preview`, { remember: { scope } }),
  changed(count) {
    byId("quiet").hidden = count > 0;
    document.title = count ? `(${count}) Permissions · CCProxy` : "Permissions · CCProxy";
  },
});

async function respond(request, body) {
  try {
    const reply = await fetch(`/permissions/${encodeURIComponent(request.request_id)}/respond`, {
      method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify({ ...body, browser: push.id }),
    });
    if (reply.ok) return "";
    const problem = (await reply.json()).error.message;
    if (reply.status === 409 || reply.status === 404) settle(request.request_id, problem);
    return problem;
  } catch (error) {
    return `That did not arrive: ${error.message}. Try again.`;
  }
}

function settle(requestId, words) {
  signals.settled(requestId);
  const known = queue.remove(requestId);
  if (!known) return;
  const line = `${known.presentation.summary}: ${words}`;
  byId("news").textContent = line;
  byId("settled").prepend(make("li", { textContent: line }));
  while (byId("settled").children.length > SETTLED_SHOWN) byId("settled").lastElementChild.remove();
}

// The profiles of rules, behind a button that names those in force.
const profiles = new Profiles({ send: (choice) => post("/permissions/profiles", choice), switched: (data) => { showProfiles(data); openProfiles(false); } });
byId("profiles").append(profiles.element);

function showProfiles(data) {
  profiles.show(data);
  byId("profile").hidden = false;
  byId("profile").textContent = namesInForce(data) || "Profiles";
  byId("profile").setAttribute("aria-label", `Profiles in force: ${namesInForce(data) || "none"}`);
}

function openProfiles(open) {
  byId("profiles").hidden = !open;
  byId("profile").setAttribute("aria-expanded", String(open));
}

async function askProfiles() {
  const reply = await fetch("/permissions/profiles", { headers: headers({}) }).catch(() => null);
  if (reply?.ok) showProfiles(await reply.json());
}

// The switch says if hooks of agents wait for their owner; a schedule or another view may change it.
function showPresence(data) {
  const button = byId("away");
  button.hidden = false;
  button.setAttribute("aria-pressed", String(data.away));
  button.title = data.away ? "Hooks of agents wait for you" : "Agents ask in their own terminals";
}

async function askPresence(change) {
  try {
    const reply = await fetch("/permissions/away", change
      ? { method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify(change) }
      : { headers: headers({}) });
    const data = await reply.json();
    if (reply.ok) showPresence(data);
    else byId("news").textContent = data.error.message;
  } catch (error) {
    if (change) byId("news").textContent = `That did not arrive: ${error.message}. Try again.`;
  }
}

function handle(name, data) {
  if (name === "presence") return showPresence(data);
  if (name === "profiles") {
    byId("news").textContent = `Profiles in force: ${data.in_force.join(", ") || "none"}${data.by && ` (by ${data.by})`}`;
    return askProfiles();
  }
  if (name === "notice" || name === "alert") return void (byId("news").textContent = noticeText(data));
  if (name === "permission_request") {
    queue.add(data);
    signals.arrived(data);
  } else if (name.startsWith("permission_")) settle(data.request_id, outcome(name, data));
  else {
    queue.draw();
    if (data.message === "synced") signals.tidy(queue.requests);
  }
}

async function read(reply) {
  const skew = Date.parse(reply.headers.get("date")) - Date.now();
  queue.skew = Math.abs(skew) > SAME_CLOCK_MS ? skew : 0;
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let pending = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (pending + value).split("\n\n");
    pending = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
      if (fields.id) lastEvent = fields.id;
      if (fields.data) handle(fields.event, JSON.parse(fields.data));
    }
  }
}

async function watch() {
  let pause = 500;
  for (;;) {
    try {
      const reply = await fetch("/permissions/stream", { headers: headers(lastEvent ? { "last-event-id": lastEvent } : {}) });
      if (reply.status === 401 && !sessionStorage.getItem("ccproxy-token")) return location.assign("/signin?next=/permissions/ui");
      if (reply.status === 401 || reply.status === 403) {
        byId("login-problem").textContent = sessionStorage.getItem("ccproxy-token") ? (await reply.json()).error.message : "";
        byId("login").hidden = false;
        byId("connection").textContent = "Not open";
        return;
      }
      if (reply.ok) {
        byId("login").hidden = true;
        byId("connection").textContent = "Live";
        pause = 500;
        askPresence();
        askProfiles();
        push.renew().catch(() => {}).then(() => signals.draw());
        await read(reply);
      }
    } catch { /* the gateway restarts, or the phone was asleep */ }
    byId("connection").textContent = "Reconnecting…";
    await new Promise((wake) => setTimeout(wake, pause));
    pause = Math.min(2 * pause, 10_000);
  }
}

byId("away").onclick = () => askPresence({ state: byId("away").getAttribute("aria-pressed") === "true" ? "off" : "on" });
byId("profile").onclick = () => openProfiles(byId("profiles").hidden);
byId("login").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("ccproxy-token", byId("token").value);
  byId("token").value = "";
  watch();
};
// Who has signed out gets no messages here any more.
document.querySelector(".sign-out")?.addEventListener("submit", () => push.switchOff());
watch();
// Browsers allow a service worker with TLS or on this machine only; the page works without.
navigator.serviceWorker?.register("/permissions/service-worker.js", { scope: "/permissions/ui" }).catch(() => {});
