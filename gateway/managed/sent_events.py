"""The events that clients send to a session, as pydantic checks them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from gateway.managed.bodies import MOST_EVENTS, Name, NotServed, StrictBody, Text
from gateway.managed.journal import SessionState
from gateway.managed.listing import new_id
from gateway.server.guard import Caller
from shared.formats.ir import Json
from shared.runtime.errors import ClientError, NotAllowed, TooLarge
from shared.runtime.exact_json import dump_json

EVENT_BYTES = 2 * 1024 * 1024  # of one event; all events of a session share LOG_BYTES
UNSERVED_EVENTS = (
    "user.custom_tool_result",
    "user.define_outcome",
    "user.tool_result",
    "system.message",
)


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


SentEvent = Annotated[UserMessage | UserInterrupt | ToolConfirmation, Field(discriminator="type")]
EVENT: TypeAdapter[UserMessage | UserInterrupt | ToolConfirmation] = TypeAdapter(SentEvent)


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


def check_confirmations(events: list[Json], state: SessionState, caller: Caller) -> None:
    """Raise ClientError for a confirmation without a waiting call, NotAllowed for a caller without
    the right to answer: asking never includes answering.
    """
    for event in events:
        if event["type"] != "user.tool_confirmation":
            continue
        if event["tool_use_id"] not in state.waiting:
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
