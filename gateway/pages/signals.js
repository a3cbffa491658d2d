// Signals of an open page: a notification of the browser and a sound, for a request that arrives while nobody looks.
//
// Both are off until a button of this page switches them on, and each browser remembers its own choice. The permission to
// notify is asked for by that button and never on load. A page that is in sight makes neither: the request is on it.

import { make } from "./dom.js";

const NOTIFY = "ccproxy-notify", SOUND = "ccproxy-sound"; // the choices in localStorage
const TONES = [[880, 0], [1174.7, 0.16]]; // hertz, and seconds from the start
const TONE_SECONDS = 0.35, LOUDNESS = 0.2;
const TAG = "permission-"; // and the id of a request: the name under which a message replaces an earlier one
const BUTTONS = { deny: "Deny", allow: "Allow" };
const ICON = "/permissions/ui/icon-192.png";

// Show `message`, which has the form of a pushed one. Chrome on Android knows no `new Notification`, so a page with a
// service worker notifies through it, and has the same buttons as a pushed message; another page is led to by a click.
async function show(message) {
  const options = { body: message.text, tag: message.tag, icon: ICON };
  const worker = await navigator.serviceWorker?.getRegistration();
  if (worker?.active) {
    const actions = message.actions.map((action) => ({ action, title: BUTTONS[action] }));
    return worker.showNotification(message.title, { ...options, actions, data: message });
  }
  const shown = new Notification(message.title, options);
  shown.onclick = () => {
    window.focus();
    shown.close();
  };
  return shown;
}

// As in a message without details: who asks for which tool, and nothing of the input. A question is answered on the page.
function messageOf(request) {
  const program = request.program || "An agent", isQuestion = request.kind === "question";
  return {
    title: isQuestion ? `${program} asks you something` : `${program} asks for permission: ${request.tool_name}`,
    text: request.machine ? `Machine: ${request.machine}` : "",
    tag: TAG + request.request_id,
    request_id: request.request_id,
    actions: isQuestion ? ["deny"] : ["deny", "allow"],
    at: Date.now(),
    quiet: false,
  };
}

class Sound {
  // Browsers let a page sound once somebody has touched it. Until then `play` does nothing: the sound would come with that
  // touch, and mean nothing any more.
  async play() {
    if (navigator.userActivation?.hasBeenActive === false) return;
    this.context ??= new AudioContext();
    await this.context.resume();
    const now = this.context.currentTime;
    for (const [hertz, after] of TONES) {
      const tone = this.context.createOscillator(), loudness = this.context.createGain();
      tone.frequency.value = hertz;
      loudness.gain.setValueAtTime(LOUDNESS, now + after);
      loudness.gain.exponentialRampToValueAtTime(0.001, now + after + TONE_SECONDS);
      tone.connect(loudness).connect(this.context.destination);
      tone.start(now + after);
      tone.stop(now + after + TONE_SECONDS);
    }
  }
}

export class Signals {
  // `push` reaches this browser also while the page is closed (`push.js`); without it the page notifies itself.
  constructor(push = null) {
    this.push = push;
    this.sound = new Sound();
    this.shown = new Map();
    this.note = make("p", { className: "note", role: "status" });
    this.notifyButton = this.button("Notifications", () => this.switchNotify());
    this.soundButton = this.button("Sound", () => this.switchSound());
    this.notifyButton.id = "signals-notify";
    this.soundButton.id = "signals-sound";
    this.element = make("section", { className: "signals", ariaLabel: "Signals of this browser" }, this.notifyButton, this.soundButton, this.note);
    this.draw();
  }

  button(text, act) {
    const element = make("button", { type: "button", className: "step", textContent: text });
    element.onclick = async () => {
      element.disabled = true;
      this.note.textContent = "";
      await act().catch((error) => (this.note.textContent = error.message));
      element.disabled = false;
      this.draw();
    };
    return element;
  }

  isOn(choice) {
    return localStorage.getItem(choice) === "on" && (choice !== NOTIFY || globalThis.Notification?.permission === "granted");
  }

  draw() {
    this.notifyButton.setAttribute("aria-pressed", String(this.isOn(NOTIFY)));
    this.soundButton.setAttribute("aria-pressed", String(this.isOn(SOUND)));
    if (this.note.textContent) return;
    const reach = this.push?.isOn ? "This browser gets messages, also while the page is closed." : "The browser notifies you while this page is open and out of sight.";
    this.note.textContent = this.isOn(NOTIFY) ? reach : "";
  }

  async switchNotify() {
    if (this.isOn(NOTIFY)) {
      localStorage.setItem(NOTIFY, "off");
      return this.push?.switchOff();
    }
    if (!globalThis.Notification) throw new Error("This browser has no notifications here. They need https, and on an iPhone the installed page.");
    if ((await Notification.requestPermission()) !== "granted") throw new Error("Notifications of this address are blocked in the settings of the browser.");
    localStorage.setItem(NOTIFY, "on");
    await this.push?.switchOn();
  }

  async switchSound() {
    localStorage.setItem(SOUND, this.isOn(SOUND) ? "off" : "on");
    if (this.isOn(SOUND)) await this.sound.play();
  }

  // A request that this page has not heard of before.
  async arrived(request) {
    if (this.shown.has(request.request_id)) return;
    this.shown.set(request.request_id, null);
    if (!document.hidden) return;
    if (this.isOn(SOUND)) this.sound.play().catch(() => {});
    if (!this.isOn(NOTIFY) || this.push?.isOn) return;
    const made = await show(messageOf(request)).catch(() => null);
    if (this.shown.has(request.request_id)) this.shown.set(request.request_id, made ?? null);
    else made?.close();
  }

  // A request that has ended: nothing of it is left on the screen.
  async settled(requestId) {
    this.shown.get(requestId)?.close();
    this.shown.delete(requestId);
    await this.close((id) => id === requestId);
  }

  // Close what was left by requests that no longer wait; `waiting` has those that do, by id.
  tidy(waiting) {
    return this.close((id) => !waiting.has(id));
  }

  async close(hasEnded) {
    const worker = await navigator.serviceWorker?.getRegistration();
    for (const notification of (await worker?.getNotifications()) ?? [])
      if (notification.tag.startsWith(TAG) && hasEnded(notification.tag.slice(TAG.length))) notification.close();
  }
}
