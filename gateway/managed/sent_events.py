"""The events that clients send to a session, as pydantic checks them."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)

from gateway.managed.bodies import MOST_EVENTS, Name, NotServed, StrictBody, Text
from gateway.managed.journal import SessionState
from gateway.managed.listing import new_id
from gateway.server.guard import Caller
from shared.formats.ir import Json
from shared.runtime.errors import ClientError, NotAllowed, TooLarge
from shared.runtime.exact_json import dump_json

EVENT_BYTES = 2 * 1024 * 1024  # of one event; all events of a session share LOG_BYTES
MOST_RESULT_CHARS = 400_000  # of the texts of one result: what Claude Code shows its model whole
UNSERVED_EVENTS = (
    "user.define_outcome",
    "user.tool_result",
    "system.message",
)


def check_base64(data: str) -> str:
    """Return `data`. Raises ValueError for a text that is no base64."""
    try:
        base64.b64decode(data, validate=True)
    except ValueError:
        raise ValueError("is no base64") from None
    return data


class TextBlock(StrictBody):
    """A piece of text."""

    type: Literal["text"]
    text: Annotated[Text, Field(min_length=1)]


class Base64Source(StrictBody):
    """Bytes in the request itself."""

    type: Literal["base64"]
    media_type: Name
    data: Text


class UrlSource(StrictBody):
    """An address for the provider to read."""

    type: Literal["url"]
    url: Text


class TextSource(StrictBody):
    """Plain text as a document."""

    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: Text


class ImageBlock(StrictBody):
    """A picture."""

    type: Literal["image"]
    source: Annotated[Base64Source | UrlSource, Field(discriminator="type")]


class DocumentBlock(StrictBody):
    """A document."""

    type: Literal["document"]
    source: Annotated[Base64Source | UrlSource | TextSource, Field(discriminator="type")]
    title: Text | None = None
    context: Text | None = None


Block = Annotated[TextBlock | ImageBlock | DocumentBlock, Field(discriminator="type")]


class PictureBytes(StrictBody):
    """A picture in the request itself."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: Annotated[Text, Field(min_length=1), AfterValidator(check_base64)]


class ResultImage(StrictBody):
    """A picture of a result. The program takes no address of a picture."""

    type: Literal["image"]
    source: PictureBytes


class UserMessage(StrictBody):
    """The message at the start of a turn."""

    type: Literal["user.message"]
    content: Annotated[list[Block], Field(min_length=1)]


class UserInterrupt(StrictBody):
    """The wish to end the running turn."""

    type: Literal["user.interrupt"]
    session_thread_id: NotServed = None


class ToolConfirmation(StrictBody):
    """The answer to a waiting tool call."""

    type: Literal["user.tool_confirmation"]
    tool_use_id: Name
    result: Literal["allow", "deny"]
    deny_message: Text | None = None

    @model_validator(mode="after")
    def check_message(self) -> ToolConfirmation:
        """Return the confirmation. Raises ValueError for a reason to deny beside an `allow`."""
        if self.deny_message and self.result == "allow":
            raise ValueError("deny_message: only with the result `deny`")
        return self


class CustomToolResult(StrictBody):
    """The client's answer to a call of a custom tool."""

    type: Literal["user.custom_tool_result"]
    custom_tool_use_id: Name
    content: list[Annotated[TextBlock | ResultImage, Field(discriminator="type")]] | None = None
    is_error: bool | None = None

    @field_validator("content", mode="before")
    @classmethod
    def refuse_other_blocks(cls, content: Any) -> Any:
        """Return the content. Raises ValueError for a block that the program cannot be told."""
        for block in content if isinstance(content, list) else []:
            kind = block.get("type") if isinstance(block, dict) else None
            if kind in ("document", "search_result"):
                raise ValueError(f"{kind} is not served in a result here; text and image are")
        return content

    @model_validator(mode="after")
    def check_length(self) -> CustomToolResult:
        """Return the result. Raises ValueError for longer texts than the model would see."""
        blocks = self.content or []
        if sum(len(each.text) for each in blocks if each.type == "text") > MOST_RESULT_CHARS:
            raise ValueError(f"content: at most {MOST_RESULT_CHARS:,} characters of text")
        return self


SentEvent = Annotated[
    UserMessage | UserInterrupt | ToolConfirmation | CustomToolResult, Field(discriminator="type")
]
EVENT: TypeAdapter[UserMessage | UserInterrupt | ToolConfirmation | CustomToolResult] = TypeAdapter(
    SentEvent
)


class EventsBody(StrictBody):
    """Events for a session, in the order of their effect."""

    events: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=MOST_EVENTS)]


def read_events(given: list[Json], name: str = "events") -> list[Json]:
    """Return sent events with new ids, in the stored form. Raises ClientError with the path of the
    first misfit field, TooLarge.
    """
    return [read_sent_event(event, f"{name}.{place}") for place, event in enumerate(given)]


def read_first_events(given: list[Json]) -> list[Json]:
    """Return the first events of a new session, all messages. Raises ClientError."""
    events = read_events(given, "initial_events")
    for place, event in enumerate(events):
        if event["type"] != "user.message":
            where = f"initial_events.{place}.type"
            raise ClientError(f"{where}: a session begins with user.message.", param=where)
    return events


def read_sent_event(given: Json, where: str) -> Json:
    kind = given.get("type")
    if kind in UNSERVED_EVENTS:
        raise ClientError(f"{where}.type: {kind} is not served here.", param=where)
    try:
        event = EVENT.validate_python(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"] if part != kind)
        raise ClientError(
            f"{where}.{path}: {first['msg']}".replace(".:", ":"), param=where
        ) from None
    stored = {"id": new_id("sevt"), **event.model_dump(exclude_none=True), "processed_at": None}
    if len(dump_json(stored)) > EVENT_BYTES:
        raise TooLarge(f"{where}: an event has at most {EVENT_BYTES:,} bytes.")
    return stored


def check_results(events: list[Json], state: SessionState) -> list[str]:
    """Return the ids of the calls that the results among `events` answer. Raises ClientError for a
    result without a waiting call, and for a second result of one call.
    """
    queued = [event for event, _ in state.queue]
    answered = [event.get("custom_tool_use_id") for event in queued]
    found: list[str] = []
    for event in events:
        if event["type"] != "user.custom_tool_result":
            continue
        use_id = event["custom_tool_use_id"]
        if not is_custom_call(state.waiting.get(use_id)):
            raise ClientError(
                f"custom_tool_use_id: {use_id!r} is no call of a custom tool that this session "
                "waits for; it may have been answered already, or its turn may be over.",
                param="custom_tool_use_id",
            )
        if use_id in answered or use_id in found:
            raise answered_already(use_id)
        found.append(use_id)
    return found


def is_custom_call(waiting: Json | None) -> bool:
    """Return True if what a session waits for is the result of a custom tool."""
    return waiting is not None and "tool_use_id" in waiting


def answered_already(use_id: str) -> ClientError:
    return ClientError(
        f"custom_tool_use_id: {use_id!r} has been answered already.", param="custom_tool_use_id"
    )


def check_confirmations(events: list[Json], state: SessionState, caller: Caller) -> None:
    """Raise ClientError for a confirmation without a waiting call, NotAllowed for a caller without
    the right to answer: asking never includes answering.
    """
    for event in events:
        if event["type"] != "user.tool_confirmation":
            continue
        waiting = state.waiting.get(event["tool_use_id"])
        if waiting is None or is_custom_call(waiting):
            raise ClientError(
                f"tool_use_id: {event['tool_use_id']!r} is no event that this session waits for; "
                "it may have been answered already.",
                param="tool_use_id",
            )
        if "approve" not in caller.scopes:
            raise NotAllowed(
                f"The token {caller.name!r} may not confirm tools: it lacks the scope 'approve'."
            )
        if caller.may_ask and event["result"] == "allow":
            raise NotAllowed(
                f"{caller.name!r} made this request and cannot allow it itself; the owner's token, "
                "or a person, has to."
            )
