// The service worker of the phone page: an offline notice while the gateway cannot be reached, and the
// messages that arrive while the page is closed.
//
// Nothing is stored: no page, no request, no answer. Of the page's own requests only the load of a page
// passes here; the stream of requests and the answers go straight to the gateway. A button of a message
// answers with the sign-in of this browser.

const NOTICE = (nonce) => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Offline · CCProxy</title>
<style nonce="${nonce}">
  body { font: 16px/1.5 system-ui, sans-serif; margin: 0; min-height: 100dvh; display: grid; place-content: center; gap: 1rem; padding: 1.5rem; text-align: center; }
  h1 { font-size: 1.25rem; margin: 0; } p { margin: 0; }
  a { display: block; padding: 0.875rem; border: 1px solid; border-radius: 10px; color: inherit; text-decoration: none; }
</style>
</head>
<body>
<h1>CCProxy cannot be reached</h1>
<p>The phone is offline, or the gateway is not running. Nothing was answered. Requests that nobody answers are denied.</p>
<a href="/permissions/ui">Try again</a>
</body>
</html>`;

function offlineNotice() {
  const nonce = crypto.randomUUID();
  return new Response(NOTICE(nonce), {
    status: 503,
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": `default-src 'none'; style-src 'nonce-${nonce}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
      "cache-control": "no-store",
    },
  });
}

self.addEventListener("install", () => self.skipWaiting());
// With navigation preload the browser itself sends the request for the page. A request that this
// worker sends in its place does not say that it is a navigation, and the guard refuses it when a
// link of another site led here.
self.addEventListener("activate", (event) =>
  event.waitUntil(Promise.all([self.registration.navigationPreload.enable(), self.clients.claim()])),
);
self.addEventListener("fetch", (event) => {
  if (event.request.mode !== "navigate" || event.request.method !== "GET") return;
  event.respondWith(loadPage(event).catch(offlineNotice));
});

async function loadPage(event) {
  return (await event.preloadResponse) ?? fetch(event.request);
}

// ---- messages --------------------------------------------------------------------------------------

const PAGE = "/permissions/ui";
const BROWSERS = "/permissions/notifications/browsers";
const BUTTONS = { deny: "Deny", allow: "Allow" };
const ID_BYTES = 16; // of a SHA-256, as the permission service takes them

self.addEventListener("push", (event) => event.waitUntil(show(event.data.json())));
self.addEventListener("notificationclick", (event) => event.waitUntil(clicked(event)));
self.addEventListener("pushsubscriptionchange", (event) => event.waitUntil(subscribeAgain(event)));

// A message with the tag of an earlier one takes its place; the outcome of a request does so without a sound.
function show(message, text = message.text) {
  return self.registration.showNotification(message.title, {
    body: text,
    tag: message.tag,
    timestamp: message.at,
    silent: message.quiet,
    renotify: !message.quiet,
    requireInteraction: message.actions.length > 0,
    icon: "/permissions/ui/icon-192.png",
    badge: "/permissions/ui/icon-192.png",
    actions: message.actions.map((action) => ({ action, title: BUTTONS[action] })),
    data: message,
  });
}

async function clicked({ action, notification }) {
  const message = notification.data;
  notification.close();
  if (!BUTTONS[action]) return openPage();
  const problem = await answer(message.request_id, action === "allow").catch(() => null);
  if (problem === "") return;
  // Nothing was decided, and the same buttons may be tried again; or it is decided, and there is no button left.
  if (problem === null) return show({ ...message, quiet: true }, "That did not arrive. Try again, or open the page.");
  await show({ ...message, title: "Not answered", actions: [], quiet: true }, problem);
}

// Send the answer; return what went wrong in words, or nothing.
async function answer(requestId, allowed) {
  const reply = await fetch(`/permissions/${encodeURIComponent(requestId)}/respond`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ allowed, browser: await ownId() }),
  });
  if (reply.ok) return "";
  if (reply.status === 401) return "This browser is no longer signed in. Open the page to sign in and answer.";
  return (await reply.json()).error.message;
}

async function ownId() {
  const subscription = await self.registration.pushManager?.getSubscription();
  if (!subscription) return "";
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(subscription.endpoint));
  return [...new Uint8Array(digest)].slice(0, ID_BYTES).map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function openPage() {
  const pages = await self.clients.matchAll({ type: "window" });
  const open = pages.find((page) => new URL(page.url).pathname === PAGE);
  return open ? open.focus() : self.clients.openWindow(PAGE);
}

// The push service has replaced the subscription. Without a sign-in the page does it at its next load.
async function subscribeAgain({ oldSubscription, newSubscription }) {
  const options = oldSubscription?.options;
  const subscription = newSubscription ?? (options && (await self.registration.pushManager.subscribe(options)));
  if (!subscription) return;
  await fetch(BROWSERS, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ subscription: subscription.toJSON() }),
  });
}
