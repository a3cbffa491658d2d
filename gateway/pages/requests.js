// Permission requests in a browser: one at a time, drawn from the presentation that the permission service made.
//
// The presentation is escaped already, and goes into the page as text only. Allow works once the end of the request was
// on the screen, nothing is folded away, and ARMED_AFTER_MS have passed since then or since the request appeared.

import { make } from "./dom.js";

const ARMED_AFTER_MS = 400; // a tap meant for the request that was here a moment ago must not answer this one
const FOLDED_ABOVE_PX = 420; // a taller block shows its ends only, until somebody asks for the whole
const HEAD = { characters: 500, lines: 12 }, TAIL = { characters: 250, lines: 6 };
const LATE_SECONDS = 30;
const LOOKING_BACK = "Looking at past requests…";
const LOOK_BACK_MS = 8000; // an answer must not wait for a question to the records for ever

// ---- the blocks of a presentation -----------------------------------------------------------------------------------

function drawBlock(block) {
  const label = make("h3", { className: "label", textContent: block.label });
  if (block.kind === "line") return make("p", { className: "line" }, label, make("span", { textContent: block.text }));
  const part = make("section", { className: `block ${block.kind}` }, label);
  if (block.note) part.append(make("p", { className: "note", textContent: block.note }));
  if (block.kind === "diff") part.append(drawRows(block.rows));
  else part.append(make("pre", { textContent: block.text }));
  return part;
}

const ROW_NAMES = { "+": "added", "-": "removed", "@": "place", " ": "same" };

function drawRows(rows) {
  const numbered = rows.some((row) => row.old !== null || row.new !== null);
  const lines = rows.map((row) => {
    const line = make("span", { className: `row ${ROW_NAMES[row.mark]}` });
    if (numbered) line.append(make("span", { className: "number", textContent: `${row.new ?? row.old ?? ""}`.padStart(5) }));
    line.append(`${row.mark} ${row.text}\n`);
    return line;
  });
  return make("pre", { className: numbered ? "numbered" : "" }, ...lines);
}

// Fold a block that is too tall: its ends stay, and a button between them shows the whole. Calls `opened` then.
function fold(pre, opened) {
  const height = pre.offsetHeight;
  if (height <= FOLDED_ABOVE_PX) return false;
  const whole = [...pre.childNodes];
  const ends = whole[0].nodeType === Node.TEXT_NODE ? endsOfText(whole[0].data) : endsOfRows(whole);
  if (!ends) return false;
  const show = make("button", { type: "button", className: "show-all", textContent: `… ${ends.hidden} hidden. Show all (${height.toLocaleString()} px)` });
  show.onclick = () => {
    pre.replaceChildren(...whole);
    opened();
  };
  pre.replaceChildren(...ends.head, show, ...ends.tail);
  return true;
}

function endsOfText(text) {
  const cut = (lines, limit) => lines.join("\n").length <= limit.characters ? lines.join("\n") : null;
  const lines = text.split("\n");
  const head = cut(lines.slice(0, HEAD.lines), HEAD) ?? text.slice(0, HEAD.characters);
  const tail = cut(lines.slice(-TAIL.lines), TAIL) ?? text.slice(-TAIL.characters);
  const hidden = text.length - head.length - tail.length;
  return hidden > 0 ? { head: [head], tail: [tail], hidden: `${hidden.toLocaleString()} characters` } : null;
}

function endsOfRows(rows) {
  const hidden = rows.length - HEAD.lines - TAIL.lines;
  return hidden > 0 ? { head: rows.slice(0, HEAD.lines), tail: rows.slice(-TAIL.lines), hidden: `${hidden.toLocaleString()} lines` } : null;
}

// ---- one request ----------------------------------------------------------------------------------------------------

class RequestCard {
  constructor(request, respond, preview) {
    this.request = request;
    this.shown = request.presentation;
    this.respond = respond;
    this.preview = preview;
    this.folds = 0;
    this.seen = this.armed = this.busy = false;
    this.answers = new Map();
    this.element = make("article", { className: "request" });
    this.element.setAttribute("aria-labelledby", "request-title");
    this.build();
  }

  build() {
    const { shown, request } = this;
    this.title = make("h2", { id: "request-title", className: "title", textContent: shown.title, tabIndex: -1 });
    this.left = make("span", { className: "left" });
    const asker = shown.asker.map((fact) => make("span", { textContent: `${fact.label}: ${fact.text}` }));
    this.body = make("div", { className: "body", tabIndex: 0 });
    this.body.setAttribute("role", "region");
    this.body.setAttribute("aria-label", "What would happen");
    this.body.append(...shown.warnings.map((warning) => make("p", { className: "warning", textContent: warning })));
    this.body.append(...shown.blocks.map(drawBlock));
    if (request.kind === "question") this.body.append(...shown.questions.map((question) => this.drawQuestion(question)));
    this.end = make("div", { className: "end" });
    this.body.append(this.end);
    this.hint = make("p", { className: "hint", id: "request-hint" });
    this.hint.setAttribute("role", "status");
    this.problem = make("p", { className: "problem" });
    this.problem.setAttribute("role", "alert");
    this.form = make("form", { className: "form", hidden: true });
    this.element.append(make("header", {}, this.title, this.left), make("p", { className: "asker" }, ...asker), this.body, this.form, this.problem, this.hint, this.drawActions());
  }

  drawActions() {
    const button = (name, text, act) => (this[name] = make("button", { type: "button", className: name, textContent: text, onclick: act }));
    const question = this.request.kind === "question";
    button("deny", question ? "Decline" : "Deny", () => this.send({ allowed: false }));
    button("allow", question ? "Send" : "Allow once", () => this.send(question ? this.answered() : { allowed: true }));
    button("others", "More…", () => this.toggleMore());
    this.allow.setAttribute("aria-describedby", "request-hint");
    this.others.setAttribute("aria-expanded", "false");
    this.more = make("div", { className: "more", hidden: true });
    const offers = [["session", "In this session…"], ["always", "Always…"]];
    for (const [scope, words] of offers) {
      const choice = this.shown.remember.find((each) => each.scope === scope);
      this.more.append(button(scope, choice ? choice.label : words, () => this.confirm(choice)));
      this[scope].dataset.offered = choice ? "yes" : "";
    }
    this.more.append(button("edit", "Edit…", () => this.editInput()), button("explain", "Deny and say why…", () => this.explainDenial()));
    this.edit.dataset.offered = question ? "" : "yes";
    return make("footer", {}, this.more, make("div", { className: "actions" }, this.deny, this.allow, this.others));
  }

  // Called when the card is in the page: only then is it known how tall its blocks are and what is on the screen.
  appear() {
    for (const pre of this.body.querySelectorAll("pre")) if (fold(pre, () => this.unfolded())) this.folds += 1;
    this.watcher = new IntersectionObserver((entries) => this.endSeen(entries.at(-1).isIntersecting), { root: this.body });
    this.watcher.observe(this.end);
    this.disarm();
    this.update();
  }

  unfolded() {
    this.folds -= 1;
    // What was hidden has pushed the end away, so the end has to be looked at again.
    this.seen = false;
    this.watcher.unobserve(this.end);
    this.watcher.observe(this.end);
    this.body.focus({ preventScroll: true });
    this.update();
  }

  endSeen(there) {
    this.body.classList.toggle("more-below", !there);
    if (there && !this.folds && !this.seen) {
      this.seen = true;
      this.disarm();
    }
    this.update();
  }

  disarm() {
    this.armed = false;
    clearTimeout(this.arming);
    this.arming = setTimeout(() => { this.armed = true; this.update(); }, ARMED_AFTER_MS);
    this.update();
  }

  update() {
    const answerable = this.armed && !this.busy;
    const allowable = answerable && this.seen && this.shown.complete;
    this.deny.disabled = this.explain.disabled = this.others.disabled = !answerable;
    this.allow.disabled = !allowable || (this.request.kind === "question" && !this.allAnswered());
    for (const name of ["session", "always", "edit"]) this[name].disabled = !allowable || !this[name].dataset.offered;
    this.hint.textContent = this.advice();
  }

  // What is still to be done before the request can be allowed.
  advice() {
    const question = this.request.kind === "question";
    if (!this.shown.complete) return "A part of this input cannot be shown, so it can only be denied here.";
    if (this.folds) return "Show all of it to allow it.";
    if (!this.seen) return `Scroll to the end to ${question ? "answer" : "allow"} it.`;
    return question && !this.allAnswered() ? "Answer every question to send." : "";
  }

  tick(now) {
    const { expires_at: expires } = this.request;
    if (!expires) return void (this.left.textContent = "no limit");
    const seconds = Math.max(0, Math.ceil((Date.parse(expires) - now) / 1000));
    this.left.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} left`;
    this.left.classList.toggle("late", seconds <= LATE_SECONDS);
  }

  async send(body) {
    this.busy = true;
    this.problem.textContent = "";
    this.update();
    this.problem.textContent = await this.respond(this.request, body);
    this.busy = false;
    this.update();
  }

  // ---- answers that take a second step

  toggleMore(open = this.more.hidden) {
    this.more.hidden = !open;
    this.others.textContent = open ? "Less" : "More…";
    this.others.setAttribute("aria-expanded", String(open));
  }

  ask(label, fields, words, kind, then, more = []) {
    const submit = make("button", { type: "submit", className: kind, textContent: words });
    const back = make("button", { type: "button", className: "back", textContent: "Back" });
    back.onclick = () => { this.form.hidden = true; this.others.focus(); };
    this.form.replaceChildren(make("label", {}, make("span", { textContent: label }), ...fields), ...more, make("div", { className: "actions" }, back, submit));
    this.form.onsubmit = (event) => {
      event.preventDefault();
      try {
        const body = then();
        this.form.hidden = true;
        this.send(body);
      } catch (error) {
        this.problem.textContent = `Not JSON: ${error.message}`;
      }
    };
    this.toggleMore(false);
    this.form.hidden = false;
    (fields[0] ?? back).focus();
    return submit;
  }

  // The answer can be sent once the past calls were shown, or cannot be had.
  confirm(choice) {
    const past = make("div", { className: "past", textContent: LOOKING_BACK, tabIndex: 0 });
    past.setAttribute("role", "status");
    const answer = () => ({ allowed: true, remember: { scope: choice.scope } });
    const submit = this.ask(choice.covers, [], "Yes, remember it", "allow", answer, [past]);
    submit.disabled = true;
    const late = new Promise((end) => setTimeout(end, LOOK_BACK_MS));
    Promise.race([this.preview(this.request, choice.scope), late]).catch(() => null).then((found) => {
      past.replaceChildren(...drawPast(found));
      submit.disabled = false;
    });
  }

  explainDenial() {
    const text = make("textarea", { rows: 3 });
    this.ask("Why not? Claude reads this.", [text], "Deny", "deny", () => ({ allowed: false, message: text.value }));
  }

  editInput() {
    const { input } = this.request;
    const command = typeof input.command === "string";
    const text = make("textarea", { rows: 5, spellcheck: false, autocapitalize: "off", value: command ? input.command : JSON.stringify(input, null, 2) });
    this.ask("What should run instead", [text], "Allow this", "allow", () =>
      ({ allowed: true, updated_input: command ? { ...input, command: text.value } : JSON.parse(text.value) }));
  }

  // ---- questions of the model

  drawQuestion(question) {
    const name = `question-${question.place}`;
    const group = make("fieldset", { className: "question" }, make("legend", { textContent: question.text }));
    for (const option of question.options) {
      const box = make("input", { type: question.multiple ? "checkbox" : "radio", name, value: option.place });
      const words = make("span", {}, make("strong", { textContent: option.label }));
      if (option.description) words.append(make("small", { textContent: option.description }));
      group.append(make("label", { className: "option" }, box, words));
    }
    const own = make("input", { type: "text", className: "own", autocomplete: "off" });
    group.append(make("label", { className: "own-words" }, make("span", { textContent: "Or in your own words" }), own));
    const read = () => {
      const { text, options } = this.raw(question);
      const chosen = [...group.querySelectorAll(`[name="${name}"]:checked`)].map((box) => options[Number(box.value)].label);
      this.answers.set(text, own.value.trim() ? own.value.trim() : chosen.join(", "));
      this.update();
    };
    group.addEventListener("input", read);
    return group;
  }

  // A question and its options as the tool knows them; the answers are named by these.
  raw(question) {
    const asked = this.request.input.questions[question.place];
    return { text: asked.question, options: asked.options ?? [] };
  }

  allAnswered() {
    return this.shown.questions.length > 0 && this.shown.questions.every((question) => this.answers.get(this.raw(question).text));
  }

  answered() {
    return { allowed: true, updated_input: { ...this.request.input, answers: Object.fromEntries(this.answers) } };
  }
}

// The past calls that a rule would have allowed; nothing is known of them when `found` is missing.
function drawPast(found) {
  if (!found) return [make("p", { textContent: "Past requests cannot be looked at now." })];
  const calls = found.count === 1 ? "1 call" : `${found.count} calls`;
  const words = `In the last ${found.days} days the rule would have allowed ${calls} more${found.examples.length ? ":" : "."}`;
  const examples = found.examples.map((each) => make("li", {}, make("code", { textContent: each.text }), ` (${each.outcome})`));
  return [make("p", { textContent: words }), ...(examples.length ? [make("ul", {}, ...examples)] : [])];
}

// ---- the queue ------------------------------------------------------------------------------------------------------

export class RequestQueue {
  // `respond(request, body)` sends an answer and returns what went wrong, in words; `preview(request, scope)` returns the
  // past calls of a remembered answer; `changed(count)` hears of each change.
  constructor(place, { respond, preview, changed }) {
    this.place = place;
    this.respond = respond;
    this.preview = preview;
    this.changed = changed;
    this.requests = new Map();
    this.card = null;
    this.skew = 0; // the gateway's clock minus this one, in milliseconds
    this.position = make("span", { className: "position" });
    const step = (by, words, name) => make("button", { type: "button", className: "step", textContent: words, ariaLabel: name, onclick: () => this.step(by) });
    this.steps = make("nav", { className: "steps", ariaLabel: "Waiting requests" }, step(-1, "‹", "Request before"), this.position, step(1, "›", "Next request"));
    setInterval(() => this.card?.tick(Date.now() + this.skew), 500);
  }

  add(request) {
    if (this.requests.has(request.request_id)) return;
    this.requests.set(request.request_id, request);
    this.draw();
  }

  // Take a settled request out; returns it, or nothing when it was not here.
  remove(requestId) {
    const known = this.requests.get(requestId);
    this.requests.delete(requestId);
    this.draw();
    return known;
  }

  // Callers take turns, the oldest request of each first, as in the list of the permission service.
  inTurns() {
    const turns = new Map();
    const numbered = [...this.requests.values()].map((request) => {
      const turn = turns.get(request.caller) ?? 0;
      turns.set(request.caller, turn + 1);
      return { request, turn };
    });
    return numbered.sort((one, other) => one.turn - other.turn).map(({ request }) => request);
  }

  step(by) {
    const order = this.inTurns();
    const at = order.indexOf(this.card.request);
    this.show(order[(at + by + order.length) % order.length]);
    this.draw();
  }

  // The request on the screen stays there until it is settled or left, however many others arrive.
  draw() {
    const order = this.inTurns();
    this.changed(order.length); // first, because a page may have hidden the place, where nothing can be measured
    if (!order.length) {
      this.card = null;
      this.place.replaceChildren();
    } else if (!this.card || !this.requests.has(this.card.request.request_id)) this.show(order[0]);
    this.position.textContent = this.card ? `${order.indexOf(this.card.request) + 1} of ${order.length}` : "";
    this.steps.hidden = order.length < 2;
  }

  show(request) {
    const hadFocus = this.place.contains(document.activeElement);
    this.card = new RequestCard(request, this.respond, this.preview);
    this.place.replaceChildren(this.steps, this.card.element);
    this.card.appear();
    this.card.tick(Date.now() + this.skew);
    if (hadFocus) this.card.title.focus({ preventScroll: true });
  }
}

// How a request ended, in words, from the event that says so.
export function outcome(name, data) {
  if (name === "permission_expired") return "nobody answered in time";
  if (name === "permission_cancelled") return data.handed_back ? "left to the agent's terminal" : "withdrawn";
  const by = data.decided_by ? ` by ${data.decided_by}` : "";
  return (data.allowed ? "allowed" : "denied") + by + (data.edited ? ", edited" : "");
}
