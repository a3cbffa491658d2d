// One request in a drawer: what became of it and why, its ids, times, tokens, who pays, and a command to repeat it.
//
// The drawer is a modal dialog: the browser keeps the focus inside, closes it with Escape, and gives the focus back.

import { ask } from "./ask.js";
import { CapturePart } from "./captures.js";
import { copy, link, make } from "./dom.js";
import { explain, hasFailed, otherModelAsked } from "./explain.js";
import { bytes, cacheShare, count, duration, exactly, price, promptTokens, words } from "./format.js";
import { current, go, routeOf, toView, withChanges } from "./state.js";

const FORMAT_NAMES = { anthropic: "Messages", openai_chat: "Chat Completions", openai_responses: "Responses" };
const BODIES = {
  anthropic: (model) => ({ model, max_tokens: 64, messages: [{ role: "user", content: "Hello" }] }),
  openai_chat: (model) => ({ model, messages: [{ role: "user", content: "Hello" }] }),
  openai_responses: (model) => ({ model, input: "Hello" }),
};

export class Detail {
  constructor({ record, captured }) {
    this.known = record; // returns a record that the page has already, by its id
    this.captured = captured; // called with the state of capture after a change here
    this.title = make("h2", { id: "detail-title", tabIndex: -1 });
    this.body = make("div", { className: "detail-body" });
    const close = make("button", { type: "button", className: "close", textContent: "Close", onclick: () => this.dialog.close() });
    this.dialog = make("dialog", { id: "detail" }, make("header", {}, this.title, close), this.body);
    this.dialog.setAttribute("aria-labelledby", "detail-title");
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close()); // beside the drawer
    this.copied = make("p", { className: "hidden" });
    this.copied.setAttribute("role", "status");
    document.body.append(this.dialog);
  }

  // Show the request that the address names, or nothing.
  async show(state) {
    const id = state.get("request");
    if (!id) {
      if (this.dialog.open) this.dialog.close();
      return;
    }
    if (this.dialog.open && this.id === id) return;
    this.id = id;
    const record = this.known(id) ?? (await this.fetched(id));
    if (this.id !== id) return; // another request was opened meanwhile
    this.draw(record);
    if (!this.dialog.open) this.dialog.showModal();
    this.title.focus();
  }

  async fetched(id) {
    const answer = await ask(`/logs/entries?limit=1&request_id=${encodeURIComponent(id)}`);
    return answer.entries[0] ?? null;
  }

  // The table below has replaced the row that was focused, so its link is found again by the id.
  closed() {
    const id = this.id;
    this.id = null;
    if (current().has("request")) go(withChanges({ request: null, page: current().get("page") }));
    document.querySelector(`[data-key="${CSS.escape(id ?? "")}"] a.open`)?.focus();
  }

  draw(record) {
    if (!record) {
      this.title.textContent = "No such request";
      this.body.replaceChildren(make("p", { textContent: `There is no record under the id ${this.id}. It may still run, or be older than the records that are kept.` }));
      return;
    }
    this.title.replaceChildren(make("span", { className: `status ${hasFailed(record) ? "bad" : "good"}`, textContent: record.status_code }), ` ${record.method} ${record.path}`);
    const [first, ...more] = explain(record);
    this.body.replaceChildren(
      make("p", { className: "soft", textContent: exactly(Date.parse(record.timestamp) / 1000) }),
      make("p", { className: "explained", id: "explained" }, make("strong", { textContent: first }), ` ${more.join(" ")}`),
      ...(record.error_message ? [make("h3", { textContent: "Error" }), make("pre", { textContent: record.error_message, tabIndex: 0 })] : []),
      this.capture(record), ...this.groups(record), this.repeat(record), this.copied);
  }

  // What capture has of the request. A request to no model has nothing that could be captured.
  capture(record) {
    if (!record.client_format) return "";
    const part = new CapturePart({ record, changed: this.captured, copyButton: (text, name) => this.copyButton(text, name) });
    part.load().catch((error) => (part.status.textContent = error.message));
    return part.element;
  }

  groups(record) {
    const only = (name, value, text = value) => (value ? link(toView("requests", { [name]: value }), text) : "");
    const part = (title, facts) => {
      const shown = facts.filter(([, content]) => content !== "" && content != null);
      const list = make("dl", { className: "facts" }, ...shown.flatMap(([name, content]) => [make("dt", { textContent: name }), make("dd", {}, content)]));
      return shown.length ? [make("h3", { textContent: title }), list] : [];
    };
    return [
      ...part("Who asked", [["Client", only("client", record.client_program, `${record.client_program} ${record.client_version}`.trim())], ["Token", record.caller ? only("token", record.caller) : "none"],
        ["Address", record.client_ip], ["Session", only("session", record.session_id)], ["Agent", only("agent", record.agent_id)], ["Parent agent", only("agent", record.parent_agent_id)], ["Folder", record.working_directory], ["User agent", record.user_agent]]),
      ...part("Who answered", [["Route", only("route", routeOf(record.service_type))], ["Asked model", only("asked", otherModelAsked(record))], ["Model", only("model", record.model)],
        ["Format", FORMAT_NAMES[record.client_format] ?? record.client_format], ["Streamed", record.model ? (record.streaming ? "yes" : "no") : ""], ["Stop reason", words(record.stop_reason)], ["Worker", record.worker], ["Error", only("error", record.error_kind, words(record.error_kind))]]),
      ...part("Time", [["Until the first byte", duration(record.first_byte_ms)], ["Until the last byte", duration(record.duration_ms)], ["In the queue", record.queue_ms == null ? "" : duration(record.queue_ms)],
        ["In the worker", record.worker_ms == null ? "" : duration(record.worker_ms)], ["Sent again", record.retries || ""]]),
      ...(record.model ? part("Tokens", [["In", count(promptTokens(record))], ["From the cache", `${count(record.cache_read_tokens)} (${cacheShare(record)})`], ["To the cache", count(record.cache_write_tokens)],
        ["Out", count(record.tokens_output)], ["Of these reasoning", record.reasoning_tokens ? count(record.reasoning_tokens) : ""], ["Missed in the cache", record.cache_missed_tokens ? count(record.cache_missed_tokens) : ""],
        ["Why", only("cause", record.cache_cause, words(record.cache_cause ?? ""))], ["The provider's word", words(record.cache_miss_reason)]]) : []),
      ...(record.model ? part("Money", [["Paid by", only("paid", record.billed_to, words(record.billed_to))], ["By list price", record.cost_usd == null ? "no known price" : price(record.cost_usd)],
        ["Service tier", record.service_tier && make("span", {}, only("tier", record.service_tier), record.priced_as_standard ? ", priced as standard: its price is not known" : "")],
        ["More than a hit", record.cache_miss_usd == null ? "" : price(record.cache_miss_usd)],
        ["As Claude Code counts", record.cost_sdk_usd == null ? "" : price(record.cost_sdk_usd)]]) : []),
      ...part("Ids", [["x-request-id", this.copyable(record.client_request_id || record.request_id)], ["CCProxy", record.client_request_id ? this.copyable(record.request_id) : ""], ["Provider", this.copyable(record.upstream_request_id)]]),
      ...part("Other", [["Ignored fields", record.ignored.replaceAll(",", ", ")], ["Received", bytes(record.bytes_in)], ["Sent", bytes(record.bytes_out)], ["Query", record.query]]),
    ];
  }

  copyable(text) {
    return text ? make("span", {}, make("code", { textContent: text }), " ", this.copyButton(text, `Copy the id ${text}`)) : "";
  }

  copyButton(text, name) {
    const button = make("button", { type: "button", className: "copy", textContent: "Copy", ariaLabel: name });
    button.onclick = async () => {
      await copy(text);
      this.copied.textContent = "Copied.";
      button.textContent = "Copied";
    };
    return button;
  }

  // A command that asks the same address and model again; the text of a request is not kept.
  repeat(record) {
    const body = BODIES[record.client_format]?.(record.asked_model || record.model);
    if (!body) return "";
    if (record.streaming) body.stream = true;
    const command = `curl ${location.origin}${record.path} \\\n  -H "x-api-key: $CCPROXY_TOKEN" -H "content-type: application/json" \\\n  -d '${JSON.stringify(body)}'`;
    return make("section", {}, make("h3", { textContent: "Repeat it" }),
      make("p", { className: "soft", textContent: "This says “Hello” to the same model at the same address." }),
      make("pre", { textContent: command, tabIndex: 0, id: "curl" }), this.copyButton(command, "Copy the command"));
  }
}
