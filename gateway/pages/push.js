// Web Push of the phone page: the subscription of this browser, made by a button, renewed at each load, ended by the button
// or with the sign-in.

const BROWSERS = "/permissions/notifications/browsers";
const CHOICE = "ccproxy-push"; // in localStorage: the id of the subscription that the gateway knows

function bytesOf(text) {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

const isSame = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

export class Push {
  // `ask(path, options)` asks the gateway, and returns its answer or throws what went wrong, in words.
  constructor(ask) {
    this.ask = ask;
  }

  // The id of this browser at the gateway; an answer names it, so that this browser gets no message of its own answer.
  get id() {
    return localStorage.getItem(CHOICE) ?? "";
  }

  get isOn() {
    return this.id !== "";
  }

  async switchOn() {
    const worker = await navigator.serviceWorker?.getRegistration();
    // Without TLS there is no service worker, and older phones have no push: the open page notifies by itself then.
    if (!worker?.pushManager) return;
    const key = bytesOf((await this.ask("/permissions/notifications/key")).key);
    let subscription = await worker.pushManager.getSubscription();
    const known = subscription?.options?.applicationServerKey;
    if (known && !isSame(new Uint8Array(known), key)) {
      await subscription.unsubscribe();
      subscription = null;
    }
    subscription ??= await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    const browser = await this.ask(BROWSERS, { method: "POST", body: JSON.stringify({ subscription: subscription.toJSON() }) });
    localStorage.setItem(CHOICE, browser.id);
  }

  // Tell the gateway again at each load: it may have forgotten this browser, or another token may be signed in now.
  async renew() {
    if (this.isOn && globalThis.Notification?.permission === "granted") await this.switchOn();
  }

  async switchOff() {
    if (!this.isOn) return;
    const id = this.id;
    localStorage.removeItem(CHOICE);
    const worker = await navigator.serviceWorker?.getRegistration();
    // The gateway first: a browser that is only unsubscribed is found out at the next message. `keepalive` lets the request
    // outlive the page when it is left by signing out.
    await Promise.allSettled([
      this.ask(`${BROWSERS}/${id}`, { method: "DELETE", keepalive: true }),
      worker?.pushManager?.getSubscription().then((subscription) => subscription?.unsubscribe()),
    ]);
  }
}
