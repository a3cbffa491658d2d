// Permission requests in the dashboard: the queue that waits, the rules in force, and the log of past decisions.
//
// The queue is one element for the whole page. It stands on the overview and on the page Permissions, whichever is shown.

import { Signals } from "./signals.js";
import { ask, rowsOf } from "./ask.js";
import { link, make, section } from "./dom.js";
import { clock, duration, words } from "./format.js";
import { whileHere } from "./live.js";
import { Profiles } from "./profiles.js";
import { RequestQueue } from "./requests.js";
import { Table } from "./table.js";

const LOGGED = 100;
const TONES = { allowed: "good", switched: "" };

export class Attention {
  // `changed(count)` is called when the number of waiting requests changes.
  constructor({ changed, settled }) {
    this.prompts = make("div", { className: "queue", id: "prompts" });
    this.element = make("section", { id: "permissions", hidden: true }, make("h2", { id: "permissions-title", textContent: "Waiting for you" }), this.prompts);
    this.element.setAttribute("aria-labelledby", "permissions-title");
    this.settled = settled;
    this.signals = new Signals();
    this.queue = new RequestQueue(this.prompts, {
      respond: (request, body) => this.respond(request, body),
      preview: (request, scope) => ask(`/permissions/${encodeURIComponent(request.request_id)}/preview`, { method: "POST", body: JSON.stringify({ remember: { scope } }) }),
      changed: (waiting) => {
        this.element.hidden = !waiting;
        changed(waiting);
      },
    });
  }

  listen() {
    whileHere(() => this.open(), () => this.source.close());
  }

  open() {
    const source = (this.source = new EventSource("/permissions/stream"));
    source.addEventListener("permission_request", (message) => {
      const request = JSON.parse(message.data);
      this.queue.add(request);
      this.signals.arrived(request);
    });
    for (const name of ["permission_resolved", "permission_expired", "permission_cancelled"])
      source.addEventListener(name, (message) => {
        const { request_id: requestId } = JSON.parse(message.data);
        this.queue.remove(requestId);
        this.signals.settled(requestId);
        this.settled();
      });
    for (const name of ["notice", "alert"]) source.addEventListener(name, () => this.settled());
    // A refusal closes the stream for good: this token may not answer.
    source.onerror = () => source.readyState === EventSource.CLOSED && (this.element.hidden = true);
  }

  // Where the queue stands now. What is on the screen of a request is measured, so it is drawn again in its new place.
  moveTo(place) {
    if (this.element.parentElement === place) return;
    place.prepend(this.element);
    if (this.queue.card) this.queue.show(this.queue.card.request);
  }

  async respond(request, body) {
    try {
      await ask(`/permissions/${encodeURIComponent(request.request_id)}/respond`, { method: "POST", body: JSON.stringify(body) });
      return "";
    } catch (error) {
      if (error.status === 409 || error.status === 404) this.queue.remove(request.request_id);
      return error.message;
    }
  }
}

export class Approvals {
  // `signals` are the switches of `Signals`.
  constructor({ problem, signals }) {
    this.title = "Permissions";
    this.problem = problem;
    this.note = make("p", { className: "note" });
    this.rules = new Table({
      caption: "Rules", key: (each) => each.id, empty: "There is no rule: every tool call is asked about.",
      columns: [
        { name: "rule", title: "Rule", head: true, cell: (each) => each.text },
        { name: "scope", title: "For", wide: true, cell: (each) => words(each.scope) },
        { name: "by", title: "Made by", wide: true, cell: (each) => each.by ?? "" },
        { name: "until", title: "Until", wide: true, cell: (each) => (each.until ? clock(Date.parse(each.until) / 1000) : "") },
        { name: "force", title: "In force", cell: (each) => (each.in_force === false ? "no" : "yes") },
        { name: "change", title: "Change", cell: (each) => this.change(each) },
      ],
    });
    this.rules.element.id = "rules";
    this.rules.element.classList.add("wrapping");
    this.log = new Table({
      caption: "Decisions", key: (each) => each.request_id, empty: "No tool has asked yet.",
      columns: [
        { name: "time", title: "Time", head: true, cell: (each) => clock(Date.parse(each.asked_at) / 1000, { withSeconds: true }) },
        { name: "tool", title: "Tool", cell: (each) => each.tool_name },
        { name: "input", title: "Input", cell: (each) => make("code", { textContent: inputOf(each) }) },
        { name: "outcome", title: "Outcome", cell: (each) => make("span", { className: `status ${TONES[each.outcome] ?? "bad"}`, textContent: words(each.outcome) }) },
        { name: "by", title: "By", wide: true, cell: (each) => decider(each) },
        { name: "waited", title: "Waited", number: true, wide: true, cell: (each) => duration(each.waited_ms) },
        { name: "caller", title: "Token", wide: true, cell: (each) => each.caller },
      ],
    });
    this.log.element.id = "decisions";
    this.log.element.classList.add("wrapping");
    this.profiles = new Profiles({ send: (choice) => ask("/permissions/profiles", { method: "POST", body: JSON.stringify(choice) }), switched: () => this.refresh() });
    this.queue = make("div", { id: "queue-place" });
    this.nothing = make("p", { className: "note", textContent: "Nothing is waiting for you." });
    const phone = make("p", { className: "soft" }, "The same for a phone: ", link("/permissions/ui", "/permissions/ui"));
    this.element = make("div", {}, this.queue, this.nothing, signals, phone, section("Profiles", this.profiles.element), section("Rules", this.note, this.rules.element), section("Decisions", this.log.element));
  }

  async refresh() {
    // The log is kept by analytics; without it the rules and profiles are still there.
    const decisions = rowsOf(`/permissions/log?limit=${LOGGED}`).then((rows) => ({ rows }), (error) => ({ error }));
    const [rules, profiles] = await Promise.all([ask("/permissions/rules"), ask("/permissions/profiles")]);
    this.profiles.show(profiles);
    this.note.textContent = [rules.problem, ...rules.notes].filter(Boolean).join(" ");
    this.rules.show(rules.rules);
    const { rows, error } = await decisions;
    if (error) throw error;
    this.log.show(rows);
  }

  waiting(number) {
    this.nothing.hidden = number > 0;
  }

  // A rule of the owner is revoked; a built-in rule is removed and can be restored.
  change(rule) {
    if (rule.fixed) return "";
    const removed = rule.in_force === false;
    const act = removed ? [`/permissions/rules/${rule.id}/restore`, "POST", "Restore"] : [`/permissions/rules/${rule.id}`, "DELETE", "in_force" in rule ? "Remove" : "Revoke"];
    const [path, method, text] = act;
    const button = make("button", { type: "button", className: "step", textContent: text, ariaLabel: `${text} the rule: ${rule.text}` });
    button.onclick = () => ask(path, { method }).then(() => this.refresh()).catch(this.problem);
    return button;
  }
}

// The rule of a profile bears the profile's name in its id.
function decider(each) {
  const profile = each.rule.includes(":") ? each.rule.split(":")[0] : "";
  if (profile) return `a rule of ${profile}`;
  return each.rule ? "a rule" : each.decided_by ?? "";
}

function inputOf(each) {
  try {
    const input = JSON.parse(each.input);
    if (each.outcome === "switched") return `profiles in force: ${input.in_force.join(", ") || "none"}`;
    const text = input.command ?? input.file_path ?? input.url ?? input.path ?? JSON.stringify(input);
    return text.length > 160 ? `${text.slice(0, 160)}…` : text;
  } catch {
    return each.input.slice(0, 160);
  }
}
