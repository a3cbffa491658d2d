"""A request while it is captured: the bytes of both sides, kept as they pass, within limits.

Only references are kept on the way, and no byte changes. Secrets are removed, and text is made of
the bytes, once the request is over: `captured` does blocking work, so it is called from a thread.
"""

from __future__ import annotations

import base64
import binascii
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.server.asgi import Headers, Message, Send
from shared.bus.channels import AccessRecord
from shared.captures.capture import Capture, Part, Summary
from shared.captures.redaction import Redacted, redact, redact_text

MOST_CHUNKS = 100_000  # of one message; then its chunks are not told apart any more
# Headers that say something of the request; all others are left out.
KEPT_HEADERS = frozenset(
    {
        *("accept", "content-type", "content-encoding", "user-agent", "originator", "x-app"),
        *("session_id", "session-id", "x-session-id", "thread-id", "conversation_id"),
        *("request-id", "retry-after", "retry-after-ms", "x-should-retry", "etag"),
    }
)
KEPT_PREFIXES = (
    *("anthropic-", "openai-", "x-ccproxy-", "x-claude-code-", "x-codex-", "x-ratelimit-"),
    "x-stainless-",
)
CREDENTIALS = frozenset(
    {"authorization", "x-api-key", "cookie", "proxy-authorization", "chatgpt-account-id"}
)
REMOVED_CREDENTIAL = "[removed:credential]"
STREAM = "text/event-stream"


class Room:
    """Memory for the bytes of all requests being captured, or waiting to be written."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, wanted: int) -> int:
        """Take up to `wanted` bytes, and return how many."""
        taken = max(0, min(wanted, self.left))
        self.left -= taken
        return taken

    def give_back(self, size: int) -> None:
        self.left += size


@dataclass(slots=True)
class Passing:
    """A message on its way: the head, and as much of the body as the room allows."""

    room: Room
    limit: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    status: int = 0
    method: str = ""
    address: str = ""
    left_out: str = ""
    pieces: list[bytes] = field(default_factory=list)
    ends: list[list[float]] = field(default_factory=list)
    size: int = 0
    kept: int = 0
    began: float = 0.0
    is_whole: bool = False

    def add(self, piece: bytes) -> None:
        """Keep a piece of the body, as far as there is room."""
        if not piece:
            return
        now = time.perf_counter()
        self.began = self.began or now
        whole = self.size == self.kept  # nothing follows a piece that was cut
        self.size += len(piece)
        taken = self.room.take(min(len(piece), self.limit - self.kept)) if whole else 0
        if taken:
            self.pieces.append(piece if taken == len(piece) else piece[:taken])
            self.kept += taken
        if taken and len(self.ends) < MOST_CHUNKS:
            self.ends.append([self.kept, round((now - self.began) * 1000, 1)])

    def is_stream(self) -> bool:
        return any(name == "content-type" and STREAM in value for name, value in self.headers)

    def is_encoded(self) -> str:
        """Return the content encoding, an empty text for none."""
        named = [value for name, value in self.headers if name == "content-encoding"]
        return "" if not named or named[0] == "identity" else named[0]


class Taking:
    """A request being captured. `switch` is the reason, `repeats` as in Summary."""

    def __init__(
        self, record: AccessRecord, room: Room, limit: int, switch: str = "", repeats: str = ""
    ) -> None:
        self.record = record
        self.switch = switch
        self.repeats = repeats
        self._room = room
        self._limit = limit
        self._began = time.perf_counter()
        self._ended = 0.0
        self._known: set[str] = set()
        self.request = Passing(room, limit)
        self.sent: Passing | None = None
        self.answer: Passing | None = None
        self.reply: Passing | None = None

    def note_request(
        self, headers: Mapping[bytes, bytes], body: bytes, *, is_upload: bool = False
    ) -> None:
        """Keep the client's request; the body of an upload is passed on unseen."""
        self.request.headers = self._headers(headers.items())
        self.request.is_whole = True
        if is_upload:
            self.request.left_out = "It was passed on in pieces."
        else:
            self.request.add(body)

    def note_sent(
        self, method: str, address: str, headers: Mapping[str, str], body: bytes | None
    ) -> None:
        """Keep the request to the provider; a second attempt replaces the first. None stands for a
        body passed on in pieces.
        """
        self._drop(self.sent, self.answer)
        self.answer = None
        self.sent = Passing(self._room, self._limit, method=method, address=address, is_whole=True)
        self.sent.headers = self._headers(
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in headers.items()
        )
        if body is None:
            self.sent.left_out = "It was passed on in pieces."
        else:
            self.sent.add(body)

    def watch_answer(
        self, status: int, headers: Headers, chunks: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """Return the chunks of the provider's answer, and keep them as they pass."""
        answer = Passing(self._room, self._limit, self._headers(headers), status)
        self._drop(self.answer)
        self.answer = answer
        return _watched(chunks, answer)

    def watch_reply(self, send: Send) -> Send:
        """Return a `send` that keeps the client's reply as it passes."""

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.reply = Passing(
                    self._room,
                    self._limit,
                    self._headers(message.get("headers", [])),
                    message["status"],
                )
            elif self.reply is not None:
                self.reply.add(message.get("body", b""))
                self.reply.is_whole = not message.get("more_body", False)
            await send(message)

        return watched

    def end(self) -> None:
        self._ended = time.perf_counter()

    def drop(self) -> None:
        """Give the room back; the bytes are needed no more."""
        self._drop(self.request, self.sent, self.answer, self.reply)

    def _drop(self, *parts: Passing | None) -> None:
        for part in parts:
            if part is not None:
                self._room.give_back(part.kept)
                part.kept = 0
                part.pieces = []

    def _headers(self, headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
        """Return the headers to keep; the credentials are noted, to be removed everywhere."""
        kept: list[tuple[str, str]] = []
        for raw_name, raw_value in headers:
            name = raw_name.decode("latin-1").lower()
            value = raw_value.decode("latin-1")
            if name in CREDENTIALS:
                self._known.update(header_secrets(name, value))
                kept.append((name, REMOVED_CREDENTIAL))
            elif name in KEPT_HEADERS or name.startswith(KEPT_PREFIXES):
                kept.append((name, value))
        return kept

    def captured(self) -> Capture:
        """Return the capture, without secrets. Takes a second of computing for a megabyte."""
        removed: Counter[str] = Counter()
        known = sorted(self._known)
        done: dict[tuple[bytes, bool, bool], Redacted] = {}
        parts = [
            None if part is None else as_part(part, known, done)
            for part in (self.request, self.sent, self.answer, self.reply)
        ]
        for redacted in done.values():
            removed.update(redacted.removed)
        request, sent, answer, reply = parts
        assert request is not None
        summary = self._summary(known)
        summary.removed = dict(removed)
        return Capture(summary, request, sent, answer, reply)

    def _summary(self, known: Sequence[str]) -> Summary:
        record = self.record
        reply = self.reply
        return Summary(
            id=record.request_id,
            at=record.timestamp,
            method=record.method,
            path=record.path,
            query=redact_text(f"?{record.query}", known)[1:] if record.query else "",
            status=reply.status if reply else 0,
            duration_ms=round((self._ended - self._began) * 1000, 1),
            caller=record.caller,
            session=redact_text(record.session_id, known),
            model=record.model,
            asked_model=record.asked_model,
            provider=record.provider,
            client_format=record.client_format,
            client_program=record.client_program,
            streaming=record.streaming,
            error=redact_text(f"{record.error_kind}: {record.error_message}", known)
            if record.error_kind
            else "",
            switch=self.switch,
            repeats=self.repeats,
            bytes_in=self.request.size,
            bytes_out=reply.size if reply else 0,
        )


async def _watched(chunks: AsyncIterator[bytes], answer: Passing) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        answer.add(chunk)
        yield chunk
    answer.is_whole = True


def header_secrets(name: str, value: str) -> list[str]:
    """Return the secrets in a credential's header: the token alone, the values of a cookie, and the
    password of a Basic header.
    """
    if name == "cookie":
        return [pair.partition("=")[2].strip() for pair in value.split(";")]
    scheme, _, rest = value.strip().rpartition(" ")
    found = [rest]
    if scheme.lower() == "basic":
        try:
            found.append(base64.b64decode(rest, validate=True).decode("latin-1").partition(":")[2])
        except (binascii.Error, ValueError):
            return found
    return found


def as_part(
    passing: Passing, known: Sequence[str], done: dict[tuple[bytes, bool, bool], Redacted]
) -> Part:
    """Return the part of a capture. `done` has the bodies cleaned already: both sides of an
    exchange often have the same body.
    """
    is_cut = passing.size > passing.kept
    part = Part(
        headers=[[name, redact_text(value, known)] for name, value in passing.headers],
        size=passing.size,
        is_cut=is_cut,
        left_out=passing.left_out,
        status=passing.status,
        method=passing.method,
        address=redact_text(passing.address, known),
        is_whole=passing.is_whole,
    )
    if encoding := passing.is_encoded():
        part.left_out = f"It is encoded ({encoding})."
    if part.left_out or not passing.pieces:
        return part
    body = b"".join(passing.pieces)
    if is_cut:
        # The cut may lie inside of a character.
        body = body.decode("utf-8", "ignore").encode() if _is_text(body[:-4]) else body
    if not _is_text(body):
        part.left_out = "It is no text."
        return part
    key = (body, passing.is_stream(), is_cut)
    if key not in done:
        done[key] = redact(body, is_stream=passing.is_stream(), is_cut=is_cut, known=known)
    clean = done[key]
    part.body = clean.body.decode()
    part.chunks = [
        [clean.moved(min(int(end), len(body))), milliseconds] for end, milliseconds in passing.ends
    ]
    return part


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return b"\0" not in body
