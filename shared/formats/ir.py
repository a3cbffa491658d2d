"""The common form of all formats: a prompt going in, events coming out.

Events keep one grammar: `Start (Open (Delta | Cite | Seal)* Close)* (Stop | Fail)`, with `Ping`
anywhere. Blocks never overlap, so events carry no index; every writer numbers its own. `Delta`
continues whatever block is open. Values are immutable and vendor-neutral; what only one vendor
understands travels as `Opaque`, marked with whose it is.

Contract of this module: fields are added, with a default; none is renamed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal, TypeAlias

Json: TypeAlias = dict[str, Any]
Vendor: TypeAlias = Literal["anthropic", "openai"]
Role: TypeAlias = Literal["user", "assistant", "system"]
CallKind: TypeAlias = Literal["function", "custom", "local_shell"]


# --- parts: what messages and replies are made of ------------------------------------------------


@dataclass(frozen=True, slots=True)
class Citation:
    """The source of a text. `start` and `end` count characters of the text block (None: all of the
    block).

    `data` is the vendor's own shape, kept for a writer of the same vendor.
    """

    url: str = ""
    title: str = ""
    start: int | None = None
    end: int | None = None
    vendor: Vendor | None = None
    data: Json | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """`cache` marks the end of a prefix worth caching; its value is the lifetime asked for ("5m",
    "30m", "1h").
    """

    text: str
    citations: tuple[Citation, ...] = ()
    cache: str | None = None
    phase: str | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """An image. Exactly one of `data` (base64), `url` and `file_id` is set; `media_type` belongs to
    `data`.
    """

    media_type: str = ""
    data: str = ""
    url: str = ""
    file_id: str = ""
    detail: str | None = None
    cache: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """A document. Exactly one of `data` (base64), `text`, `url` and `file_id` is set."""

    media_type: str = ""
    data: str = ""
    text: str = ""
    url: str = ""
    file_id: str = ""
    name: str = ""
    context: str = ""
    citations: bool = False
    cache: str | None = None


@dataclass(frozen=True, slots=True)
class Thinking:
    """Reasoning with the signature by which the vendor accepts the reasoning again (`vendor` None:
    unsigned).

    Anthropic: the block's signature, or its `data` when `redacted`. OpenAI: `encrypted_content`,
    and `id` is `rs_…`; summary parts are joined by a blank line. In a stream a signature arrives as
    `Seal`, the signature of a redacted block in the block's `Open`. `envelope.wrap` carries all of
    it through another vendor's field.
    """

    text: str = ""
    signature: str = ""
    vendor: Vendor | None = None
    id: str = ""
    redacted: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """`arguments` is JSON text for a function ("" means {}), raw text for a custom tool; results
    name its `id`.
    """

    id: str
    name: str
    arguments: str = ""
    kind: CallKind = "function"
    namespace: str = ""
    cache: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a call. The result stands in a user message."""

    call_id: str
    parts: tuple[Text | Image | Document | Opaque, ...] = ()
    is_error: bool = False
    kind: CallKind = "function"
    cache: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The words of a model that declines; `phase` as in `Text`."""

    text: str
    phase: str | None = None


@dataclass(frozen=True, slots=True)
class Opaque:
    """An unchanged block or item for `vendor` only (server tools, their results, new types)."""

    vendor: Vendor
    data: Json


Part: TypeAlias = Text | Image | Document | Thinking | ToolCall | ToolResult | Refusal | Opaque
ReplyPart: TypeAlias = Text | Thinking | ToolCall | Refusal | Opaque


# --- the prompt ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """`system` is an instruction in mid-conversation; a `user` message has the tool results."""

    role: Role
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool the client runs. `schema` describes a function's arguments, `grammar` a custom tool's
    text.
    """

    name: str
    description: str | None = None
    schema: Json | None = None
    strict: bool | None = None
    kind: CallKind = "function"
    grammar: Json | None = None
    namespace: str = ""
    cache: str | None = None


WEB_SEARCH = "web_search"
"""The name by which a tool choice forces `WebSearch`; both vendors call the tool so."""


@dataclass(frozen=True, slots=True)
class WebSearch:
    """The web search run by every provider itself. `location` is {country, region,
    city, timezone}.
    """

    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    max_uses: int | None = None
    location: Json | None = None
    context_size: str | None = None


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """The choice among the tools: `named` forces the tool `name`; `allowed` narrows the tools
    offered, whatever the mode.
    """

    mode: Literal["auto", "none", "required", "named"] = "auto"
    name: str = ""
    allowed: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The wanted effort of reasoning, as far as set by the client: a member of `efforts.EFFORTS`,
    Anthropic's budget and mode, OpenAI's summary.
    """

    effort: str | None = None
    budget: int | None = None
    mode: Literal["adaptive", "enabled", "disabled", "between_tools"] | None = None
    summary: str | None = None


@dataclass(frozen=True, slots=True)
class ResponseFormat:
    """The required shape of the reply; without a schema any JSON object."""

    schema: Json | None = None
    name: str = ""
    description: str | None = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request, independent of the format.

    `dropped` names the fields, spelled as the client did, that the reader could not carry.
    `spelling` gives the client's name of a field that writers name differently, so that they can
    name it as well. `include_usage` is for the client's writer.
    """

    model: str
    messages: tuple[Message, ...] = ()
    system: tuple[Text, ...] = ()
    tools: tuple[Tool | WebSearch | Opaque, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop: tuple[str, ...] = ()
    reasoning: Reasoning = Reasoning()
    response_format: ResponseFormat | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    cache: str | None = None
    cache_key: str | None = None
    user: str | None = None
    metadata: Json | None = None
    stream: bool = False
    include_usage: bool = False
    dropped: tuple[str, ...] = ()
    spelling: Mapping[str, str] = field(default_factory=dict, compare=False)

    def spell(self, name: str, inside: str = "") -> str:
        """Return the client's name of the field `name`, or of the path `inside` the field: a path
        may have a separate name.
        """
        spelled = self.spelling.get(name, name)
        return self.spelling.get(f"{name}.{inside}", f"{spelled}.{inside}") if inside else spelled


# --- the reply, whole and as events --------------------------------------------------------------


class StopReason(Enum):
    END_TURN = "end_turn"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    TOOL_USE = "tool_use"
    PAUSE_TURN = "pause_turn"
    REFUSAL = "refusal"
    CONTEXT_WINDOW = "context_window"


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of a reply. `input` leaves out the tokens read from or written to the cache.

    `output` includes `reasoning`, and `cache_write` those kept for an hour instead of five minutes.
    """

    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    reasoning: int = 0
    cache_write_1h: int = 0

    @property
    def prompt(self) -> int:
        return self.input + self.cache_read + self.cache_write

    @property
    def total(self) -> int:
        return self.prompt + self.output


@dataclass(frozen=True, slots=True)
class Start:
    """The beginning of a reply. `id` and `model` are the provider's; `usage` holds the input counts
    known so far.
    """

    id: str = ""
    model: str = ""
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Open:
    """The beginning of a block. `part` is its header with an empty text. An `Opaque` is complete
    and takes no delta.
    """

    part: ReplyPart


@dataclass(frozen=True, slots=True)
class Delta:
    """More of the open block's text: of a text, a thinking, a refusal, or a call's arguments. Never
    empty.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Cite:
    """A citation of the open text block."""

    citation: Citation


@dataclass(frozen=True, slots=True)
class Seal:
    """The signature of the open thinking block; at most one, after the block's deltas."""

    signature: str
    vendor: Vendor
    id: str = ""


@dataclass(frozen=True, slots=True)
class Close:
    pass


@dataclass(frozen=True, slots=True)
class Ping:
    pass


@dataclass(frozen=True, slots=True)
class Stop:
    """The reply is complete. `usage` is final and whole; `explanation` and `category` belong to a
    refusal.
    """

    reason: StopReason = StopReason.END_TURN
    usage: Usage = Usage()
    stop_sequence: str | None = None
    explanation: str | None = None
    category: str | None = None
    service_tier: str | None = None


SPEND_LIMIT = "spend_limit"  # the code of a refusal by a limit of the caller's token


@dataclass(frozen=True, slots=True)
class Fail:
    """The failure of a reply or the refusal of a request.

    `status` is its HTTP status (529: overloaded) and its kind; `code` is the sender's stable word
    for it, `message` the sender's own words.
    """

    message: str
    status: int = 502
    code: str = ""
    param: str = ""


Event: TypeAlias = Start | Open | Delta | Cite | Seal | Close | Ping | Stop | Fail


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole reply: the fold of events with a Stop at the end."""

    id: str
    model: str
    parts: tuple[ReplyPart, ...]
    stop: Stop
