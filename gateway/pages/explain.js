// What became of a request, in sentences: how it ended, whose fault that was, and what to do.

import { money, words } from "./format.js";

const YOU = "The client's request", PROVIDER = "The provider", HERE = "This server";
// By the kind of CCProxy or the type of the provider: what happened, whose fault, what to do.
const KINDS = {
  upstream: ["could not be reached", PROVIDER, "Check the network and the provider's status page; CCProxy tries again with the next request."],
  timeout: ["did not answer in time", PROVIDER, "Send it again, or raise the timeouts in the settings (SERVER__FIRST_BYTE_TIMEOUT_SECONDS)."],
  refused: ["refused the request", PROVIDER, "The provider's own words are below."],
  overloaded: ["was overloaded", PROVIDER, "Wait a moment and send it again."],
  quota: ["stopped the request: the subscription's window is used up", HERE, "Wait for the reset on the overview, or change QUOTA__STOP_AT_PERCENT."],
  authentication: ["came without a valid credential", YOU, "Check the token that the client sends; `ccproxy auth status` shows the provider's logins."],
  permission: ["was not allowed", YOU, "Use a token with the scope that this address needs."],
  not_found: ["named something that does not exist", YOU, "Check the address and the model's name; `/api/v1/models` lists the models."],
  invalid_request: ["could not be understood", YOU, "The message below names the field."],
  too_large: ["was too large", YOU, "Send less, or raise SERVER__MAX_BODY_BYTES."],
  cancelled: ["was left by its client before the end", YOU, "Nothing is wrong here unless the client gave up on a slow answer."],
  unavailable: ["could not serve it: a part of the stack is away", HERE, "The page Workers shows what is down."],
  worker_lost: ["lost the process that worked on it", HERE, "Send it again if that is safe; nothing was run twice."],
  stopping: ["was shutting down", HERE, "Send it again."],
  rate_limit: ["limits how much may be sent now", PROVIDER, "Wait for the reset on the overview, or send less at once."],
  provider_failed: ["failed on its side", PROVIDER, "Send it again; the provider's status page may know more."],
  too_long: ["was longer than the model can read", YOU, "Send a shorter conversation, or choose a model with a larger context."],
  late_body: ["did not arrive whole in time", YOU, "Check the connection between the client and this server."],
  internal: ["failed inside CCProxy", HERE, "The log has the details under this request's id."],
};
// The providers' own names for the same.
const ALIASES = {
  overloaded_error: "overloaded", rate_limit_error: "rate_limit", api_error: "provider_failed", server_error: "provider_failed", timeout_error: "timeout",
  authentication_error: "authentication", permission_error: "permission", not_found_error: "not_found", invalid_request_error: "invalid_request", request_too_large: "too_large",
  rate_limit_exceeded: "rate_limit", insufficient_quota: "rate_limit", usage_limit_reached: "rate_limit", context_length_exceeded: "too_long", model_not_found: "not_found",
  unknown_parameter: "invalid_request", invalid_value: "invalid_request", missing_required_parameter: "invalid_request", unsupported_parameter: "invalid_request", server_is_overloaded: "overloaded",
};

// Names come from outside, so only names of these tables count.
const known = (name) => (Object.hasOwn(ALIASES, name) ? ALIASES[name] : name);
const kindOf = (kind) => (Object.hasOwn(KINDS, known(kind)) ? KINDS[known(kind)] : null);

const NO_LOGIN = ["has no login or key that the provider accepts", HERE, "Run `ccproxy auth status`, then `ccproxy auth login` or `ccproxy auth login-openai`."];

// A provider's failures in a few words, after "55 of the last 60 requests failed:".
export function because(kind, message) {
  if (known(kind) === "authentication") return "the login was missing or refused";
  return kindOf(kind)?.[0] ?? (message || words(kind));
}

export const hasFailed = (record) => record.status_code >= 400 || Boolean(record.error_kind);
// The asked model, where an alias or the provider chose another.
export const otherModelAsked = (record) => (record.asked_model !== record.model ? record.asked_model : "");

// Why the provider's cache did not have a prompt, and what that cost.
export function explainCache(record) {
  const missed = record.cache_missed_tokens;
  if (!missed) return record.cache_explanation;
  const again = record.cache_write_tokens ? "were written again" : "were read at the full price";
  const more = record.cache_miss_usd == null ? "" : `, ${money(record.cache_miss_usd)} more than a hit`;
  return `${record.cache_explanation}; ${missed.toLocaleString()} ${missed === 1 ? "token" : "tokens"} ${again}${more}`;
}

// The sentences about one record.
export function explain(record) {
  const found = [];
  const asked = otherModelAsked(record);
  if (!hasFailed(record)) found.push("Answered without an error.");
  else {
    const refusedLogin = record.provider && record.status_code === 401;
    const reason = refusedLogin ? NO_LOGIN : kindOf(record.status_code === 408 ? "late_body" : record.error_kind);
    if (record.status_code < 400) found.push("The reply began and broke off before its end.");
    if (reason) found.push(`${reason[1]} ${reason[0]}.`, reason[2]);
    else found.push(`It failed with status ${record.status_code}${record.error_kind ? ` (${words(record.error_kind)})` : ""}.`);
  }
  if (asked && record.model) found.push(`The client asked for ${asked}; ${record.model} answered.`);
  if (record.ignored) found.push(`The provider could not be told ${record.ignored.split(",").length === 1 ? "one field" : "some fields"}: ${record.ignored.replaceAll(",", ", ")}.`);
  if (record.cache_explanation) found.push(`Cache: ${explainCache(record)}.`);
  else if (record.cache_miss_reason) found.push(`The prompt cache could not be used: ${words(record.cache_miss_reason)}.`);
  if (record.retries && record.billed_to === "api_key") found.push("A window of the subscription was used up; your API key was asked instead.");
  if (record.retries) found.push(`It was sent again ${record.retries === 1 ? "once" : `${record.retries} times`}.`);
  return found;
}
