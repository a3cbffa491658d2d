"""The three formats clients speak, each a module of pure functions and two small state machines.

A `Format` is what a client needs; a `ProviderFormat` is what we also ask providers in. No I/O, no
clock: ids and times are arguments. Everything deals in parsed JSON, so that the caller chooses the
codec.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from shared.formats import chat, messages, responses
from shared.formats.fold import EventReader
from shared.formats.ir import Event, Fail, Json, Prompt, Reply
from shared.formats.written import Capabilities, Frame, Written


class EventWriter(Protocol):
    """Turns well-formed events into the frames of a client's stream."""

    def feed(self, event: Event) -> Sequence[Frame]: ...


class MakeWriter(Protocol):
    """`id` is a unique token the format puts its prefix before, used when the provider gave none;
    `created` is Unix seconds; `model` is told to the client when the provider names none.
    """

    def __call__(self, prompt: Prompt, *, id: str, created: int, model: str) -> EventWriter: ...  # noqa: A002


class MakeReader(Protocol):
    """The maker of the reader of a provider stream. The prompt names the custom tools and the
    shortened names of tools.
    """

    def __call__(self, prompt: Prompt) -> EventReader: ...


class Format(Protocol):
    """A client's side of the translation. `read_prompt` raises ClientError with the name of the
    unusable field.
    """

    @property
    def Writer(self) -> MakeWriter: ...  # noqa: N802
    def read_prompt(self, body: Json) -> Prompt: ...
    def write_reply(
        self,
        prompt: Prompt,
        reply: Reply,
        *,
        id: str,  # noqa: A002
        created: int,
        model: str,
    ) -> Json: ...
    def write_error(self, fail: Fail, *, request_id: str = "") -> Json: ...


class ProviderFormat(Format, Protocol):
    """A provider's side as well. `read_error` takes whatever a refusal's body held (parsed JSON, or
    text).
    """

    @property
    def Reader(self) -> MakeReader: ...  # noqa: N802
    def write_prompt(self, prompt: Prompt, capabilities: Capabilities) -> Written: ...
    def read_error(self, body: Json | str, status: int) -> Fail: ...


FORMATS: dict[str, Format] = {
    "anthropic": messages,
    "openai_chat": chat,
    "openai_responses": responses,
}
PROVIDER_FORMATS: dict[str, ProviderFormat] = {"anthropic": messages, "openai_responses": responses}
