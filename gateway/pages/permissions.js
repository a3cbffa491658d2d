// The page for a phone: what waits, one request at a time, and what became of those before.

import { make, outcome, RequestQueue } from "./requests.js";

const SETTLED_SHOWN = 20;
const SAME_CLOCK_MS = 2000; // a Date header has whole seconds
const byId = (id) => document.getElementById(id);
let lastEvent = null;

function headers(more) {
  const token = sessionStorage.getItem("ccproxy-token");
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

const queue = new RequestQueue(byId("queue"), {
  respond,
  changed(count) {
    byId("quiet").hidden = count > 0;
    document.title = count ? `(${count}) Permissions · CCProxy` : "Permissions · CCProxy";
  },
});

async function respond(request, body) {
  try {
    const reply = await fetch(`/permissions/${encodeURIComponent(request.request_id)}/respond`, {
      method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify(body),
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
  const known = queue.remove(requestId);
  if (!known) return;
  const line = `${known.presentation.summary}: ${words}`;
  byId("news").textContent = line;
  byId("settled").prepend(make("li", { textContent: line }));
  while (byId("settled").children.length > SETTLED_SHOWN) byId("settled").lastElementChild.remove();
}

function handle(name, data) {
  if (name === "permission_request") queue.add(data);
  else if (name.startsWith("permission_")) settle(data.request_id, outcome(name, data));
  else queue.draw();
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
        await read(reply);
      }
    } catch { /* the gateway restarts, or the phone was asleep */ }
    byId("connection").textContent = "Reconnecting…";
    await new Promise((wake) => setTimeout(wake, pause));
    pause = Math.min(2 * pause, 10_000);
  }
}

byId("login").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("ccproxy-token", byId("token").value);
  byId("token").value = "";
  watch();
};
watch();
