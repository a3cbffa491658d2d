// The queue of prompts as a page. What a model wrote is only ever shown as text, with nothing invisible in it.
"use strict";

const cards = new Map(); // request id → its card
const SETTLED_SHOWN = 20;
const ARMED_AFTER_MS = 400; // a tap meant for the card that was here a moment ago must not answer this one
const byId = (id) => document.getElementById(id);
let lastEvent = null;

function headers(more) {
  const token = sessionStorage.getItem("ccproxy-token");
  return token ? { ...more, authorization: `Bearer ${token}` } : more;
}

// Control and direction-changing characters, made visible.
function visible(text) {
  return String(text).replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = visible(text);
  return made;
}

function showInput(prompt) {
  const input = prompt.input;
  const parts = [];
  const block = (text) => parts.push(element("pre", "", text));
  const field = (name) => parts.push(element("p", "field", name));
  if (prompt.tool_name === "Bash" && typeof input.command === "string") {
    if (input.description) field(input.description);
    block(input.command);
    addRest(input, ["command", "description"], block, field);
  } else if (typeof input.old_string === "string" && typeof input.new_string === "string") {
    field(input.file_path);
    const pre = element("pre");
    for (const [mark, text] of [["removed", input.old_string], ["added", input.new_string]]) {
      for (const line of text.replace(/\n$/, "").split("\n")) {
        pre.append(element("span", mark, (mark === "added" ? "+ " : "- ") + line), "\n");
      }
    }
    parts.push(pre);
    addRest(input, ["file_path", "old_string", "new_string"], block, field);
  } else if (typeof input.content === "string" && input.file_path) {
    field(input.file_path);
    block(input.content);
    addRest(input, ["file_path", "content"], block, field);
  } else {
    block(JSON.stringify(input, null, 2));
  }
  return parts;
}

function addRest(input, shown, block, field) {
  const rest = Object.fromEntries(Object.entries(input).filter(([name]) => !shown.includes(name)));
  if (Object.keys(rest).length) {
    field("and also");
    block(JSON.stringify(rest, null, 2));
  }
}

function describe(suggestion) {
  if (suggestion.command) return `exactly ${suggestion.command}`;
  if (suggestion.command_prefix && suggestion.under) return `${suggestion.command_prefix} … under ${suggestion.under}`;
  if (suggestion.command_prefix) return `${suggestion.command_prefix} …`;
  if (suggestion.under) return `${suggestion.tool} under ${suggestion.under}`;
  if (suggestion.host) return suggestion.host;
  return suggestion.tool;
}

function addPrompt(prompt) {
  if (cards.has(prompt.request_id)) return;
  const card = byId("prompt").content.firstElementChild.cloneNode(true);
  const part = (name) => card.querySelector(`.${name}`);
  part("tool").textContent = visible(prompt.kind === "question" ? "Claude asks you" : prompt.tool_name);
  const who = [prompt.caller || "local", prompt.session_id, prompt.working_directory].filter(Boolean);
  part("who").textContent = visible(who.join(" · "));
  const answer = (body) => respond(prompt.request_id, body);
  if (prompt.kind === "question") showQuestions(card, prompt, answer);
  else showApproval(card, prompt, answer);
  part("deny").onclick = () => answer({ allowed: false });
  part("explain").onclick = () => askMore(card, "Why not? Claude reads this.", "", "Deny", (text) =>
    answer({ allowed: false, message: text }));
  disarm(card);
  cards.set(prompt.request_id, { card, prompt });
  byId("queue").append(card);
}

function showApproval(card, prompt, answer) {
  const part = (name) => card.querySelector(`.${name}`);
  part("input").append(...showInput(prompt));
  part("allow").onclick = () => answer({ allowed: true });
  for (const [name, scope, words] of [["session", "session", "In this session: "], ["always", "always", "Always: "]]) {
    if (!prompt.suggestion || (scope === "session" && !prompt.session_id)) part(name).hidden = true;
    else {
      part(name).textContent = visible(words + describe(prompt.suggestion));
      part(name).onclick = () => answer({ allowed: true, remember: { scope } });
      if (scope === "always") confirmFirst(part(name));
    }
  }
  const command = prompt.tool_name === "Bash" ? prompt.input.command : undefined;
  const text = command ?? JSON.stringify(prompt.input, null, 2);
  part("edit").onclick = () => askMore(card, "What should run instead", text, "Allow this", (changed) =>
    answer({ allowed: true, updated_input: command === undefined ? JSON.parse(changed) : { ...prompt.input, command: changed } }));
}

function showQuestions(card, prompt, answer) {
  for (const name of ["allow", "session", "always", "edit"]) card.querySelector(`.${name}`).hidden = true;
  const answers = {};
  const questions = prompt.input.questions ?? [];
  for (const question of questions) {
    const choices = element("div", "buttons");
    for (const option of question.options ?? []) {
      const choice = element("button", "", option.label);
      choice.type = "button";
      if (option.description) choice.append(element("small", "", option.description));
      choice.onclick = () => choose(choice, question, option.label);
      choices.append(choice);
    }
    card.querySelector(".input").append(element("p", "", question.question), choices);
  }
  const choose = (choice, question, label) => {
    const chosen = question.multiSelect && answers[question.question] ? answers[question.question].split(", ") : [];
    answers[question.question] = [...new Set([...chosen, label])].join(", ");
    choice.classList.add("allow");
    const several = questions.some((each) => each.multiSelect);
    if (!several && questions.every((each) => answers[each.question])) send();
  };
  const send = () => answer({ allowed: true, updated_input: { ...prompt.input, answers } });
  if (questions.some((each) => each.multiSelect)) {
    const done = card.querySelector(".allow");
    done.hidden = false;
    done.textContent = "Send the answers";
    done.onclick = send;
  }
}

function askMore(card, label, text, button, then) {
  const form = card.querySelector(".more");
  form.querySelector("span").textContent = label;
  form.querySelector("textarea").value = text;
  form.querySelector("[type=submit]").textContent = button;
  form.hidden = false;
  form.querySelector("textarea").focus();
  form.querySelector(".back").onclick = () => { form.hidden = true; };
  form.onsubmit = (event) => {
    event.preventDefault();
    try {
      then(form.querySelector("textarea").value);
    } catch (error) {
      card.querySelector(".problem").textContent = `Not JSON: ${error.message}`;
    }
  };
}

// A lasting answer takes two taps.
function confirmFirst(button) {
  const act = button.onclick;
  button.onclick = () => {
    button.textContent = `Sure? ${button.textContent}`;
    button.onclick = act;
  };
}

function disarm(card) {
  setButtons(card, true);
  setTimeout(() => setButtons(card, false), ARMED_AFTER_MS);
}

function setButtons(card, disabled) {
  for (const button of card.querySelectorAll("button")) button.disabled = disabled;
}

async function respond(requestId, body) {
  const { card } = cards.get(requestId);
  setButtons(card, true);
  let problem = "";
  try {
    const reply = await fetch(`/permissions/${encodeURIComponent(requestId)}/respond`, {
      method: "POST", headers: headers({ "content-type": "application/json" }), body: JSON.stringify(body),
    });
    if (reply.ok) return;
    problem = (await reply.json()).error.message;
    if (reply.status === 409 || reply.status === 404) return void settle(requestId, problem);
  } catch (error) {
    problem = `That did not arrive: ${error.message}. Try again.`;
  }
  card.querySelector(".problem").textContent = problem;
  setButtons(card, false);
}

function settle(requestId, words) {
  const known = cards.get(requestId);
  if (!known) return;
  known.card.remove();
  cards.delete(requestId);
  for (const { card } of cards.values()) disarm(card); // they have moved
  const what = known.prompt.input.command ?? known.prompt.input.file_path ?? "";
  byId("settled").prepend(element("li", "", `${known.prompt.tool_name} ${what} — ${words}`));
  while (byId("settled").children.length > SETTLED_SHOWN) byId("settled").lastElementChild.remove();
}

function handle(name, data) {
  const by = data.decided_by ? ` by ${data.decided_by}` : "";
  if (name === "permission_request") addPrompt(data);
  else if (name === "permission_resolved") {
    settle(data.request_id, (data.allowed ? "allowed" : "denied") + by + (data.edited ? ", edited" : ""));
  } else if (name === "permission_expired") settle(data.request_id, "nobody answered in time");
  else if (name === "permission_cancelled") settle(data.request_id, "withdrawn");
  byId("empty").hidden = cards.size > 0;
  document.title = cards.size ? `(${cards.size}) Permissions · CCProxy` : "Permissions · CCProxy";
}

async function read(reply) {
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

function tick() {
  for (const { card, prompt } of cards.values()) {
    const left = card.querySelector(".left");
    if (!prompt.expires_at) {
      left.textContent = "no limit";
      continue;
    }
    const seconds = Math.max(0, Math.ceil((Date.parse(prompt.expires_at) - Date.now()) / 1000));
    left.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    left.classList.toggle("late", seconds <= 30);
  }
}

byId("login").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem("ccproxy-token", byId("token").value);
  byId("token").value = "";
  watch();
};
setInterval(tick, 250);
watch();
