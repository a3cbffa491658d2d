// A captured request in the drawer: its blocks by tokens, what changed since the one before, and the reply, sent again
// to another model if the owner wants that. And the line above every page that says that capture is on.
//
// Everything here was said by a client or a model. It comes with its hidden characters escaped, and goes into the page
// as text only.

import { ask } from "./ask.js";
import { make } from "./dom.js";
import { clock, count, shortId, words } from "./format.js";

const SWITCHES = "/captures/switches";
const USUAL_SECONDS = 3600;
const TRIES = 40, TRY_MS = 500; // another gateway may still write what this one has sent
const ROUTES = [["", "the same route"], ["/api", "/api"], ["/codex", "/codex"], ["/sdk", "/sdk"]];

const button = (text, act, className = "step") => make("button", { type: "button", className, textContent: text, onclick: act });
const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// The part of the drawer about one request. `changed` is called when capture was switched on.
export class CapturePart {
  constructor({ record, changed, copyButton }) {
    this.record = record;
    this.changed = changed;
    this.copyButton = copyButton;
    this.element = make("section", { className: "capture" });
    this.status = make("p", { className: "soft" });
    this.status.setAttribute("role", "status");
    this.body = make("div");
    this.element.append(make("h3", { textContent: "What was sent" }), this.body, this.status);
  }

  async load() {
    const { captures } = await ask(`/captures?id=${encodeURIComponent(this.record.request_id)}`);
    this.isCaptured = captures.length > 0;
    this.body.replaceChildren(this.isCaptured ? button("Look at the request", (event) => this.attempt(() => this.look(), event.target)) : this.offer());
  }

  // Run what a button starts; an error becomes a sentence, and the button works again.
  async attempt(act, pressed) {
    pressed.disabled = true;
    this.status.textContent = "";
    try {
      await act();
    } catch (error) {
      this.status.textContent = error.message;
    }
    pressed.disabled = false;
  }

  offer() {
    const session = this.record.session_id;
    const wanted = session ? { kind: "session", name: session } : this.record.caller ? { kind: "token", name: this.record.caller } : { kind: "everything" };
    const text = session ? "Capture this session" : this.record.caller ? "Capture this token" : "Capture every request";
    const start = button(text, () => this.attempt(async () => {
      this.changed(await ask(SWITCHES, { method: "POST", body: JSON.stringify({ ...wanted, seconds: USUAL_SECONDS }) }));
      this.status.textContent = "Capture is on for an hour: the next requests are kept, without secrets of known forms.";
    }, start));
    return make("div", {}, make("p", { className: "soft", textContent: "Its text was not kept." }), start);
  }

  async look() {
    const capture = await ask(`/captures/${this.record.request_id}`);
    this.capture = capture;
    const removed = Object.entries(capture.summary.removed).map(([kind, number]) => `${number} × ${words(kind)}`);
    const facts = make("p", { className: "soft", id: "capture-facts", tabIndex: -1, textContent: `About ${count(capture.tokens)} tokens in ${capture.blocks.length} blocks.${removed.length ? ` Removed before it was kept: ${removed.join(", ")}.` : ""}` });
    const blocks = make("ol", { className: "blocks" }, ...capture.blocks.map(drawBlock));
    this.before = make("div");
    const compare = button("Compare with the one before", () => this.attempt(() => this.compare(), compare));
    const bundle = make("a", { className: "step", href: `/captures/bundle?id=${encodeURIComponent(capture.summary.id)}`, textContent: "Save a bundle" });
    bundle.setAttribute("download", "ccproxy-bundle.json");
    const actions = make("p", { className: "actions" }, compare, bundle);
    if (capture.curl) {
      const copying = this.copyButton(capture.curl, "Copy as curl, with a placeholder for the token");
      copying.textContent = "Copy as curl";
      copying.className = "step";
      actions.append(copying);
    }
    this.body.replaceChildren(facts, ...missing(capture), blocks, actions, this.before, make("h4", { textContent: "Reply" }), drawAnswer(capture), this.again());
    facts.focus();
  }

  async compare() {
    const { before, changes } = await ask(`/captures/${this.record.request_id}/difference`);
    if (!before) {
      this.before.replaceChildren(make("p", { className: "soft", textContent: "There is no captured request before this one in its session." }));
      return;
    }
    this.before.replaceChildren(make("h4", { textContent: `Since ${shortId(before.id)}, ${clock(Date.parse(before.at) / 1000, { withSeconds: true })}` }), ...changes.map(drawChange));
  }

  again() {
    const { summary, tokens } = this.capture;
    const model = make("input", { value: summary.asked_model || summary.model, maxLength: 200, required: true });
    const route = make("select", {}, ...ROUTES.map(([value, text]) => make("option", { value, textContent: text })));
    this.both = make("div", { className: "both" });
    const send = make("button", { className: "step", textContent: `Send again (costs about ${count(tokens)} tokens)` });
    const form = make("form", { className: "again" }, make("h4", { textContent: "Send it again" }),
      make("label", {}, make("span", { textContent: "Model" }), model), make("label", {}, make("span", { textContent: "Route" }), route), send);
    form.onsubmit = (event) => {
      event.preventDefault();
      this.attempt(() => this.send({ model: model.value, route: route.value }), send);
    };
    return make("div", {}, form, this.both);
  }

  async send(wanted) {
    this.status.textContent = "Sent; waiting for the end of the reply.";
    const reply = await fetch(`/captures/${this.record.request_id}/send`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(wanted) });
    const text = await reply.text();
    const id = reply.headers.get("x-request-id");
    if (!reply.ok) throw new Error(messageOf(text) ?? `HTTP ${reply.status}`);
    for (let tries = 0; tries < TRIES; tries += 1) {
      const { captures } = await ask(`/captures?id=${encodeURIComponent(id)}`);
      if (captures.length) break;
      await wait(TRY_MS);
    }
    const after = await ask(`/captures/${id}`);
    const column = (title, capture) => make("div", {}, make("h4", { textContent: `${title}: ${capture.summary.model}` }), drawAnswer(capture));
    this.both.replaceChildren(column("Before", this.capture), column("Now", after));
    this.status.textContent = `The reply is here. It was request ${id}.`;
  }
}

function messageOf(text) {
  try {
    return JSON.parse(text).error.message;
  } catch {
    return null;
  }
}

function missing(capture) {
  const parts = { request: "request", sent: "request to the provider", provider_answer: "provider's answer", reply: "reply" };
  return Object.entries(parts).flatMap(([name, text]) => {
    const part = capture[name];
    if (!part || (part.is_whole && !part.is_cut && !part.left_out)) return [];
    const why = part.left_out ? `is not here. ${part.left_out}` : part.is_cut ? "was cut." : "broke off.";
    return [make("p", { className: "note", textContent: `The ${text} ${why}` })];
  });
}

function drawBlock(block) {
  const share = make("meter", { min: 0, max: 1, value: block.share });
  share.setAttribute("aria-label", `${(block.share * 100).toFixed(1)} % of the tokens`);
  const summary = make("summary", {}, make("span", { className: "name", textContent: block.label }), share, make("span", { className: "size", textContent: `${count(block.tokens)} · ${(block.share * 100).toFixed(1)} %` }));
  return make("li", {}, make("details", {}, summary, make("pre", { textContent: block.text, tabIndex: 0 })));
}

function drawChange(change) {
  if (change.change === "same") return make("p", { className: "soft", textContent: `${change.blocks} equal blocks, ${count(change.tokens)} tokens` });
  const lines = change.lines ?? change.text.split("\n").map((text) => ({ mark: change.change === "added" ? "+" : "-", text }));
  const rows = lines.map(({ mark, text }) => make("span", { className: { "+": "added", "-": "removed", "@": "place" }[mark] ?? "same", textContent: `${mark} ${text}\n` }));
  return make("div", { className: "change" }, make("h5", { textContent: `${change.label}: ${change.change}, ${count(change.tokens)} tokens` }), make("pre", { tabIndex: 0 }, ...rows));
}

function drawAnswer(capture) {
  const text = capture.answer.map((part) => (part.kind === "text" ? part.text : `[${part.kind}] ${part.text}`)).join("\n");
  return make("pre", { className: "answer", tabIndex: 0, textContent: text || "(no text)" });
}

// The line that says what is being captured, with the button that ends it.
export class CaptureLine {
  constructor(element) {
    this.element = element;
    this.shown = "";
  }

  async refresh() {
    this.draw(await ask(SWITCHES).catch(() => ({ on: false, switches: [] })));
  }

  draw({ on, switches }) {
    const named = switches.map(({ kind, name, until }) => `${kind === "everything" ? "every request" : `${kind} ${shortId(name)}`} until ${clock(Date.parse(until) / 1000)}`);
    const text = on ? `Capture is on: ${named.join("; ")}.` : "";
    this.element.hidden = !on;
    if (text === this.shown) return;
    this.shown = text;
    const off = button("Switch it off", async () => this.draw(await ask(SWITCHES, { method: "DELETE" })));
    this.element.replaceChildren(...(on ? [make("span", { textContent: text }), off] : []));
  }
}
