"""The state of one translated reply: a provider's bytes in, a client's bytes out, with everything
noted on the way.

A tap in the relay's sense. Usage and failures are read from the events, so every pair of formats is
metered alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from json import JSONDecodeError
from typing import Any

from gateway.proxy.messages_tap import note_tier, note_usage
from gateway.proxy.stored.continuation import Continuation
from gateway.server.problems import as_fail
from shared.bus.channels import AccessRecord
from shared.formats.fold import CUT, MALFORMED, Fold, WellFormed
from shared.formats.ir import Delta, Event, Fail, Json, Prompt, Reply, Start, Stop
from shared.formats.registry import Format, ProviderFormat
from shared.formats.sse import Parser, encode_event
from shared.formats.written import Frame
from shared.runtime.errors import CCProxyError
from shared.runtime.exact_json import dump_json, load_json

NO_EVENT = frozenset({b"", b"[DONE]"})


class Translation:
    """The state of a translated reply. `token` and `created` make the id and date, `options` are
    the client writer's own.

    `begun` once the first event passed, `finished` once a terminal event passed; `failed` is that
    event when it was a failure. The frames of a terminal event wait for `end`, so that state for
    the next turn can be stored before the client knows that this turn is over.
    """

    def __init__(
        self,
        client: Format,
        provider: ProviderFormat,
        prompt: Prompt,
        record: AccessRecord,
        token: str,
        created: int,
        options: dict[str, Any],
        continuation: Continuation | None = None,
    ) -> None:
        self.continuation = continuation
        self.client = client
        self.prompt = prompt
        self.record = record
        self._named = {"id": token, "created": created, "model": prompt.model, **options}
        self._parser = Parser()
        self._reader = WellFormed(provider.Reader(prompt))
        self._writer = client.Writer(prompt, **self._named)
        self._fold = Fold()
        self._last: list[Frame] = []
        self.begun = False
        self.finished = False
        self.failed: Fail | None = None

    def feed(self, chunk: bytes) -> bytes:
        complete = self._parser.feed(chunk)
        self.begun = self.begun or bool(complete)
        return self._write([event for found in complete for event in self._read(found.data)])

    def end(self) -> bytes:
        """End the provider's stream, and return the last bytes; an incomplete reply becomes a
        failure.
        """
        events = [event for found in self._parser.end() for event in self._read(found.data, CUT)]
        return self._write([*events, *self._reader.end()]) + self._take_last()

    def fail(self, error: CCProxyError) -> bytes:
        """Return a failure of ours as the stream's last event."""
        return self._write(self._reader.repair(as_fail(error))) + self._take_last()

    def result(self) -> Reply | Fail:
        return self._fold.result()

    def write_whole(self) -> Json:
        """Return the whole reply in the client's format. Only once `finished`, and not `failed`."""
        reply = self.result()
        if isinstance(reply, Fail):
            raise TypeError("a failure has no whole reply")
        return self.client.write_reply(self.prompt, reply, **self._named)

    def _read(self, data: bytes, broken: Fail = MALFORMED) -> Iterable[Event]:
        """Return the events in the data of one event. Data that is no JSON object becomes the
        failure `broken`. No data and the mark `[DONE]`, with which some services end a stream, mean
        nothing.
        """
        if data in NO_EVENT or data.isspace():
            return ()
        try:
            payload = load_json(data)
        except JSONDecodeError:
            payload = None
        return (
            self._reader.feed(payload) if isinstance(payload, dict) else self._reader.repair(broken)
        )

    def _write(self, events: Iterable[Event]) -> bytes:
        """Return the frames of `events`. Adjacent deltas become one: under load a stream batches
        instead of falling behind.
        """
        frames: list[Frame] = []
        texts: list[str] = []
        for event in events:
            if type(event) is Delta:
                texts.append(event.text)
                continue
            # The collected text comes before the event that ended the row of deltas.
            if texts:
                self._pass(Delta("".join(texts)), frames)
                texts.clear()
            self._pass(self._note(event), frames)
        if texts:
            self._pass(Delta("".join(texts)), frames)
        return encode_all(frames)

    def _pass(self, event: Event, frames: list[Frame]) -> None:
        self._fold.feed(event)
        if self.prompt.stream:
            written = self._writer.feed(event)
            # The terminal event and all behind it wait for `end`.
            if self.finished:
                self._last += written
            else:
                frames += written

    def _take_last(self) -> bytes:
        """Return the frames of the terminal event, once."""
        last = self._last
        self._last = []
        return encode_all(last)

    def _note(self, event: Event) -> Event:
        """Note model, usage and end of `event` in the record, and return the event with the model's
        name as the client asked.
        """
        record = self.record
        if isinstance(event, Start):
            record.model = event.model or record.model
            note_usage(record, event.usage)
            return replace(event, model=self.prompt.model)
        if isinstance(event, Fail):
            self.finished = True
            self.failed = event
            record.error_kind = event.code or "upstream"
            record.error_message = event.message[:500]
        elif isinstance(event, Stop):
            self.finished = True
            note_usage(record, event.usage)
            note_tier(record, event.service_tier)
            record.stop_reason = event.reason.value
        return event


def encode_all(frames: Iterable[Frame]) -> bytes:
    return b"".join(
        [
            encode_event(name, data.encode() if isinstance(data, str) else dump_json(data))
            for name, data in frames
        ]
    )
