"""The channels between processes: a name for each, its delivery terms, and the shape of its
payloads.

Payloads are slotted dataclasses written by orjson. `decode` checks a payload on the receiving side;
no later code checks a field again. A new field needs a default, so that processes of two versions
can talk.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Hashable, Iterable
from dataclasses import asdict, dataclass, field, is_dataclass, replace
from functools import cache
from json import JSONDecodeError
from typing import Any, Literal, TypeVar, cast

import orjson
from pydantic import TypeAdapter, ValidationError

from shared.permissions.reach import Reach
from shared.runtime.errors import ClientError
from shared.runtime.exact_json import dump_json, load_json

T = TypeVar("T")

Acknowledged = Literal["on_accept", "when_done"]


@dataclass(frozen=True, slots=True)
class Channel:
    """A stream between processes.

    `acknowledged`: `on_accept` never runs a delivery twice (the caller of a lost server gets
    WorkerLost); `when_done` hands an unfinished delivery to the next server. `max_length` bounds
    the stream. `server` is the address of the only process that serves the channel; the channel
    ends with that process.
    """

    name: str
    acknowledged: Acknowledged
    max_length: int = 10_000
    server: str = ""

    def at(self, address: str) -> Channel:
        """Return the channel, addressed to the single server at `address`."""
        return replace(self, name=f"{self.name}@{address}", server=address)


SDK_TURN = Channel("sdk:turn", "on_accept", max_length=64)
# Each worker serves one of its own. A payload is a CustomResult, the end of a call its receipt.
CUSTOM_RESULTS = Channel("sdk:custom_result", "on_accept", max_length=256)
# A call tells the worker at an address to take no new turn and to end after those it has.
WORKER_DRAIN = Channel("sdk:drain", "on_accept")
PERMISSION_REQUESTS = Channel("permission:ask", "when_done")
PERMISSION_QUERIES = Channel("permission:query", "on_accept")
PERMISSION_AUDIT = Channel("permission:audit", "when_done")
# A payload is a table of at most 256 records, some 90 kB (shared/bus/records.py); at half of the
# length gateways wait.
ACCESS_RECORD = Channel("access:record", "when_done", max_length=2_000)
LOGS_QUERY = Channel("logs:query", "on_accept")
LOGS_WATCH = Channel("logs:watch", "on_accept", max_length=64)


def labelled_turns(labels: Iterable[str]) -> Channel:
    """Return the queue of the turns that only workers with all of `labels` may run."""
    return replace(SDK_TURN, name="+".join((SDK_TURN.name, *sorted(set(labels)))))


def encode_payload(payload: Any) -> bytes:
    """Return a dataclass, or a plain JSON value, as JSON bytes."""
    try:
        return orjson.dumps(payload)
    # orjson refuses an integer beyond 64 bits and half of a surrogate pair; both are valid JSON.
    except TypeError:
        is_record = is_dataclass(payload) and not isinstance(payload, type)
        return dump_json(asdict(payload) if is_record else payload)


@cache
def _adapter(shape: Any) -> TypeAdapter[Any]:
    return TypeAdapter(shape)


def validated(shape: type[T], data: bytes) -> T:
    """Return JSON bytes as `shape`, even bytes refused by pydantic's own parser of JSON. Raises
    ValidationError.
    """
    adapter: TypeAdapter[T] = _adapter(cast("Hashable", shape))
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        # pydantic's parser refuses an escaped half of a surrogate pair. Only such a text gets a
        # second reading; any other misfit is the payload's own.
        if error.errors(include_url=False)[0]["type"] != "json_invalid" or b"\\u" not in data:
            raise
    try:
        return adapter.validate_python(load_json(data))
    except JSONDecodeError as error:
        raise ClientError(f"payload: {error}") from error


def decode_payload(shape: type[T], data: bytes) -> T:
    """Return JSON bytes as `shape`. Raises ClientError with the name of the first misfit field."""
    try:
        result: T = validated(shape, data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "payload"
        raise ClientError(f"{where}: {first['msg']}") from error
    return result


# The MCP server that offers the custom tools of a managed session to its program, and what the
# program's names of these tools begin with.
CUSTOM_TOOLS_SERVER = "ccproxy_custom"
CUSTOM_TOOLS_PREFIX = f"mcp__{CUSTOM_TOOLS_SERVER}__"


@dataclass(slots=True)
class CustomTool:
    """A tool of a managed session that the session's client answers."""

    name: str
    description: str
    input_schema: dict[str, Any]


@dataclass(slots=True)
class ManagedTurn:
    """The part of a turn of a managed session beside the request: `tools` are the names of Claude
    Code's own tools permitted in the turn, `asks` the names among `tools` that a person must allow
    every time, `effort` a level of effort, or an empty text for the program's own level,
    `custom_tools` the tools that the session's client answers.
    """

    tools: list[str] = field(default_factory=list)
    asks: list[str] = field(default_factory=list)
    effort: str = ""
    custom_tools: list[CustomTool] = field(default_factory=list)


@dataclass(slots=True)
class PermissionNote:
    """The state of the permission for a tool call of a managed turn, as a frame of the turn's
    replies.

    `request_id` names the permission request. `state` is `waiting` once a person is asked, and
    `allowed` or `denied` at the end; `by` then names who decided, `message` says why not.
    """

    tool_use_id: str
    request_id: str
    state: Literal["waiting", "allowed", "denied"]
    by: str = ""
    message: str = ""


PERMISSION_NOTE = "ccproxy_permission"  # the name of that frame


@dataclass(slots=True)
class CustomCallNote:
    """The state of a custom tool's call in a managed turn, as a frame of the turn's replies.

    `waiting`: the worker at the address `worker` waits for the client's result. `over`: it waits no
    more, and had no result; `message` says why.
    """

    tool_use_id: str
    state: Literal["waiting", "over"]
    worker: str
    message: str = ""


CUSTOM_CALL_NOTE = "ccproxy_custom_call"  # the name of that frame


@dataclass(slots=True)
class CustomResult:
    """The client's result of a custom tool's call in the turn `request_id`: `content` are texts and
    images in blocks of the Messages format.
    """

    request_id: str
    tool_use_id: str
    content: list[dict[str, Any]]
    is_error: bool = False


@dataclass(slots=True)
class Turn:
    """One `/sdk` request. The replies are a TurnHead, Anthropic SSE frames and a TurnTail.

    `body` is an Anthropic Messages request. `sent_at` is in UTC seconds. `repeat` is equal for the
    same request of the same caller. `message_mode` says how this request shows the agent's own
    tools; an empty text means the setting. `managed` is set for a turn of a managed session, whose
    replies have a PermissionNote and a CustomCallNote too.
    """

    request_id: str
    body: dict[str, Any]
    caller: str = ""
    session_id: str | None = None
    working_directory: str | None = None
    traceparent: str | None = None
    sent_at: float = field(default_factory=time.time)
    repeat: str = ""
    message_mode: str = ""
    managed: ManagedTurn | None = None


def left_key(repeat: str) -> str:
    """Return the key for the address of the worker with the kept turn after the loss of the
    caller.
    """
    return f"left:{repeat}"


@dataclass(slots=True)
class TurnHead:
    """The first reply to a Turn: the worker, the time in the queue, the body's fields without a
    place in the SDK, and the billing (see AccessRecord).
    """

    worker: str
    queue_ms: float = 0.0
    ignored: list[str] = field(default_factory=list)
    session_id: str = ""
    billed_to: str = "unknown"


@dataclass(slots=True)
class TurnTail:
    """The last reply to a Turn, also to a failed one: costs and times beyond the usage in the
    frames.

    `limits` is the `rate_limit_info` that Claude Code reported about the owner's subscription.
    """

    cost_usd: float | None = None
    num_turns: int | None = None
    worker_ms: float | None = None
    limits: dict[str, Any] | None = None


SESSION_PREFIX = "session:"


def session_key(turn: Turn) -> str:
    """Return the key of the KnownSession of a named turn. The key contains the caller, so that no
    caller reaches another caller's session.
    """
    named = encode_payload([turn.caller, turn.working_directory, turn.session_id])
    return SESSION_PREFIX + hashlib.sha256(named).hexdigest()


@dataclass(slots=True)
class KnownSession:
    """The state of a named `/sdk` conversation, kept in Redis under SESSION_PREFIX and a hash of
    its name.

    `cost_usd` is the total in the program's summary of the last turn. `last_used` is in UTC
    seconds. `kept_by` is the address of the worker that ran the last turn and may have kept its
    process for the next turn. `last_entry` is the id of the last entry of the transcript, by which
    a copy on another disk or in Redis is known to have the last turn; empty where none is shared.
    """

    transcript: str = ""
    turns: int = 0
    cost_usd: float = 0.0
    name: str = ""
    caller: str = ""
    working_directory: str | None = None
    last_used: float = 0.0
    kept_by: str = ""
    last_entry: str = ""


@dataclass(slots=True)
class AccessRecord:
    """The facts about a request at the end of the reply. Times are milliseconds, `timestamp` UTC
    seconds.

    `request_id` is always our own and unique; the caller's `x-request-id`, echoed to it, is
    `client_request_id`. `billed_to` is the billing: `subscription`, `api_key`, `extra_usage` (paid,
    on top of a subscription) or `unknown`. Tokens are the provider's own counts, also for a reply
    that broke off; `cache_write_tokens` includes those kept for an hour. `asked_model` is the
    client's name for the model, `model` the name of the one that answered. `agent_id` and
    `parent_agent_id` name a subagent of Claude Code and the agent that started it. `client_program`
    and `client_version` are read from the user agent. `cache_miss_reason` is the provider's own
    word for a prompt that its cache could not reuse; the provider sends it only for requests that
    ask for it. `working_directory` is the folder that Claude Code, Codex or a header named.
    `fingerprint` has the written PromptFingerprint of a prompt; it is stored apart from the record.
    What analytics makes of it: `cache_cause` and `cache_explanation` say why the prompt was not
    read from the provider's cache, `cache_missed_tokens` how many tokens a hit would have read, and
    `cache_miss_usd` what these cost more than a hit, by list price. `cost_usd` is the list
    price of the tokens, whoever pays, filled in by analytics; None where no price is known.
    `service_tier` is the tier that the reply names (`fast`, `priority`, `flex`, …), empty for the
    standard one; `priced_as_standard` marks a tier whose price is not known.
    """

    request_id: str
    timestamp: float
    method: str = ""
    path: str = ""
    endpoint: str = ""
    query: str = ""
    client_ip: str = ""
    user_agent: str = ""
    caller: str = ""
    service_type: str = "gateway"
    provider: str = ""
    client_format: str = ""
    model: str = ""
    streaming: bool = False
    status_code: int = 0
    duration_ms: float = 0.0
    first_byte_ms: float | None = None
    tokens_input: int = 0
    tokens_output: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    cost_sdk_usd: float | None = None
    num_turns: int | None = None
    session_id: str = ""
    stop_reason: str = ""
    error_kind: str = ""
    error_message: str = ""
    retries: int = 0
    queue_ms: float | None = None
    worker_ms: float | None = None
    worker: str = ""
    billed_to: str = "unknown"
    bytes_in: int = 0
    bytes_out: int = 0
    client_request_id: str = ""
    upstream_request_id: str = ""
    ignored: str = ""
    asked_model: str = ""
    agent_id: str = ""
    parent_agent_id: str = ""
    client_program: str = ""
    client_version: str = ""
    cache_miss_reason: str = ""
    service_tier: str = ""
    priced_as_standard: bool = False
    working_directory: str = ""
    cache_cause: str = ""
    cache_explanation: str = ""
    cache_missed_tokens: int = 0
    cache_miss_usd: float | None = None
    fingerprint: str = ""


@dataclass(slots=True)
class LogsQuery:
    """A question to analytics: the `name` of a known question, and the question's parameters."""

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)


Outcome = Literal["allowed", "denied", "expired", "cancelled", "undecided"]
SWITCHED = "switched"  # the outcome of a record that tells of a change of profiles
RecordedOutcome = Literal["allowed", "denied", "expired", "cancelled", "undecided", "switched"]


@dataclass(slots=True)
class FileBefore:
    """The file in front of a tool call, as read on the tool's machine at the opening of the
    request.

    `text` is None for a file that does not exist, and for one that was not read; `unread` then says
    why.
    """

    path: str
    exists: bool
    text: str | None = None
    unread: str = ""


@dataclass(slots=True)
class PermissionRequest:
    """The permission request of a tool call, with the whole `input`; answered by one
    PermissionDecision.

    `request_id` names the request for good. `asker` names the waiting process in words of its own,
    so that it can withdraw. `asked_at` is in UTC seconds; `timeout_seconds` None means the setting,
    0 for ever. `reach` is what the call touches on the machine that runs the tool; None when that
    machine has not said. `file_before` is the file that the call would change, for the permission
    service to compare; the service forgets it once the request is presented. `agent` is the kind of
    subagent that calls; an empty text for the main one. `bypass`: the owner wants nobody asked, so
    whatever is neither protected nor denied by a rule is allowed. `insists`: Claude Code asks
    although its hook was answered, so a built-in rule is not enough. `refused` says why nobody is
    to be asked: then the rest is an excerpt. `must_ask`: a person decides, whatever the mode and
    the rules would allow. `announces`: a PermissionWaiting comes before the decision.
    """

    request_id: str
    tool_name: str
    input: dict[str, Any]
    tool_use_id: str = ""
    caller: str = ""
    session_id: str = ""
    asked_at: float = field(default_factory=time.time)
    working_directory: str = ""
    timeout_seconds: float | None = None
    asker: str = ""
    reach: Reach | None = None
    file_before: FileBefore | None = None
    refused: str = ""
    agent: str = ""
    bypass: bool = False
    insists: bool = False
    program: str = ""
    machine: str = ""
    asks_itself: bool = False
    fixed_input: bool = False
    must_ask: bool = False
    announces: bool = False


@dataclass(slots=True)
class PermissionWaiting:
    """The first reply to a permission request that `announces`: True if a person is asked."""

    waiting: bool


@dataclass(slots=True)
class PermissionDecision:
    """The outcome of a permission request. Only `allowed` lets the tool act, on `updated_input` if
    a person changed the input. `undecided`: nobody was asked here, and the agent asks by itself.

    `message` tells the model and people why a tool was not allowed. `decided_by` is a caller's
    name; `rule` is the id of the rule that decided.
    """

    request_id: str
    outcome: Outcome
    message: str = ""
    updated_input: dict[str, Any] | None = None
    decided_by: str = ""
    rule: str = ""


@dataclass(slots=True)
class PermissionQuery:
    """A question to the permission service: `verb` is a verb of permission_service/queries.py, `by`
    the caller's name.

    `may_ask` is true when the caller, not the owner, can make permission requests too; such a
    caller does not grant its own.
    """

    verb: str
    parameters: dict[str, Any] = field(default_factory=dict)
    by: str = ""
    may_ask: bool = False


@dataclass(slots=True)
class PermissionAudit:
    """A permission request and the outcome, or a change of profiles, for the records. `asked_at` is
    in UTC seconds; `input` and `updated_input` are JSON texts. `program` and `machine` are empty
    for an agent that asked without a hook. `circumstances` is a JSON object of further facts behind
    the decision (`reach`, `bypass`, `insists`, `must_ask`), for judging the request again; empty
    when only an excerpt of the request is known.
    """

    request_id: str
    asked_at: float
    tool_name: str
    input: str
    caller: str
    session_id: str
    working_directory: str
    outcome: str
    decided_by: str = ""
    rule: str = ""
    message: str = ""
    updated_input: str = ""
    waited_ms: float = 0.0
    program: str = ""
    machine: str = ""
    circumstances: str = ""
