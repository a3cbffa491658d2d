// Requests as they begin and end, from one stream for the whole page.
//
// The stream is closed while nobody looks at the page, and when the page is left: a browser opens only six connections to
// one server, and a page that waits behind the Back button would keep its own.

const RETRY_MS = 2000;
const MOST_RUNNING = 200;
const listeners = [];
let source = null;

// The requests that have begun and have not ended, by id.
export const running = new Map();

// Call `heard(event)` for each request that begins or ends, and `state(words)` when the connection changes.
export const listen = (heard, state) => listeners.push({ heard, state });

function say(words) {
  for (const { state } of listeners) state?.(words);
}

function take(event) {
  if (event.type === "overflow") return say(`live, ${event.missed} not shown`);
  if (event.type === "request_start") running.set(event.request_id, event);
  else running.delete(event.request_id);
  // An end may be lost with an overflow or a gateway: the oldest goes.
  if (running.size > MOST_RUNNING) running.delete(running.keys().next().value);
  if (event.request_id) for (const { heard } of listeners) heard(event);
}

function open() {
  source?.close(); // two may open at once: a page that is looked at again, and a try after a failure
  source = new EventSource("/logs/stream");
  source.onopen = () => say("live");
  source.onmessage = (message) => take(JSON.parse(message.data));
  source.onerror = () => {
    say("not connected, trying again");
    if (source.readyState === EventSource.CLOSED) setTimeout(openIfSeen, RETRY_MS);
  };
}

function openIfSeen() {
  if (!document.hidden) open();
}

function close() {
  source?.close();
  running.clear();
  say("paused");
}

export function start() {
  document.addEventListener("visibilitychange", () => {
    close();
    openIfSeen();
  });
  whileHere(openIfSeen, close);
}

// Call `open` now and whenever the page comes back from behind the Back button, `close` when it is left.
export function whileHere(open, close) {
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
}
