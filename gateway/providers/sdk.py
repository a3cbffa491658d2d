"""Claude through the SDK: a turn on the bus, answered by any worker with Anthropic frames.

For the rest of the gateway the provider looks like an HTTP provider. The first reply names the
worker of the turn, the last reply has cost and limits; all replies between go on unchanged. Leaving
early cancels the turn in its worker. A named conversation goes to the worker that keeps its
process, as long as the worker has a free slot.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from hashlib import sha256
from typing import Any, get_args

from gateway.metering.quota import QuotaWatch
from gateway.providers import Opened, Outgoing
from gateway.providers.worker_choice import WorkerChoice, choose_workers, read_choice
from gateway.proxy.catalogue import Catalogue
from gateway.proxy.ignored import note_ignored, with_ignored
from shared.bus import Bus, Call
from shared.bus.channels import (
    CUSTOM_RESULTS,
    SDK_TURN,
    AccessRecord,
    Channel,
    CustomResult,
    KnownSession,
    Turn,
    TurnHead,
    TurnTail,
    decode_payload,
    encode_payload,
    left_key,
    session_key,
)
from shared.bus.wire import instance_of
from shared.formats import messages
from shared.formats.ir import Prompt, WebSearch
from shared.formats.messages.whole import WholeMessage
from shared.formats.registry import ProviderFormat
from shared.formats.sse import Parser
from shared.formats.written import Capabilities, Written
from shared.runtime.errors import Busy, ClientError, NoWorker, UpstreamError, UpstreamRefused
from shared.runtime.exact_json import dump_json, load_json
from shared.runtime.metrics import LineMetrics
from shared.settings.providers import MessageMode

DIRECTORY_HEADER = b"x-ccproxy-cwd"
MESSAGES_HEADER = b"x-ccproxy-sdk-messages"
MAX_WAITING_BYTES = 64 * 1024 * 1024  # a quarter of the memory of our own Redis
NO_FREE_WORKER = "No SDK worker has been free (SDK__WORKERS, SDK__MAX_TURNS_AT_ONCE)"
WORKER_SILENT = "The SDK worker has sent nothing"
NOT_IN_THE_PROGRAM: dict[str, Any] = {
    **dict.fromkeys(
        ("temperature", "top_p", "top_k", "service_tier", "user", "cache", "parallel_tools"), None
    ),
    "stop": (),
}
SAYS_NOTHING = (None, "", (), 1, "auto", "default")
WORKERS_ADDRESS = "sdk:/v1/messages"  # of a turn in a capture: no HTTP takes it there
ABOUT_THE_RUN = frozenset({"system_message", "result_message"})

# The first frame, further frames, and the function that ends the turn.
Begun = tuple[bytes, AsyncIterator[bytes], Callable[[], Awaitable[None]]]


class SdkFormat:
    """The Messages format for the workers: fields without an option of the program are left out.

    A left-out field is named in the spelling of the client's own format. The reply's schema becomes
    an instruction.
    """

    Reader = messages.Reader
    Writer = messages.Writer
    read_prompt = staticmethod(messages.read_prompt)
    write_reply = staticmethod(messages.write_reply)
    write_error = staticmethod(messages.write_error)
    read_error = staticmethod(messages.read_error)

    def write_prompt(self, prompt: Prompt, capabilities: Capabilities) -> Written:
        tools = tuple(tool for tool in prompt.tools if not isinstance(tool, WebSearch))
        # The writer gets only what the program can carry. What was left out is named below, in the
        # client's spelling instead of the writer's.
        fitting = replace(prompt, **NOT_IN_THE_PROGRAM, tools=tools)
        written = messages.write_prompt(
            fitting, replace(capabilities, structured_output=False, efforts=frozenset())
        )
        wanted = {name: getattr(prompt, name) for name in NOT_IN_THE_PROGRAM if name != "cache"}
        lost = [name for name, value in wanted.items() if value not in SAYS_NOTHING]
        if len(tools) < len(prompt.tools):
            lost.append("web_search")
        kind = written.body.get("thinking", {}).get("type")
        if prompt.reasoning.effort and kind not in ("enabled", "disabled"):
            lost.append("reasoning_effort")
        if prompt.reasoning.summary and "summary" in prompt.spelling:
            lost.append("summary")
        if kind == "adaptive":
            # The program has no place for the display of adaptive thinking.
            written.body["thinking"] = {"type": kind}
        return Written(
            written.body, tuple(dict.fromkeys((*written.dropped, *map(prompt.spell, lost))))
        )


class Sdk:
    """Provider of the Messages format over the bus."""

    name = "sdk"
    speaks: ProviderFormat = SdkFormat()

    def __init__(
        self,
        bus: Bus,
        catalogue: Catalogue,
        quota: QuotaWatch,
        metrics: LineMetrics,
        *,
        max_waiting: int,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
    ) -> None:
        """Open the provider. `max_waiting_bytes` is the limit of the gateway's bodies waiting in
        Redis at once.
        """
        self.catalogue = catalogue
        self._bus = bus
        self._quota = quota
        self._metrics = metrics
        self._line = replace(SDK_TURN, max_length=max_waiting)
        self._waiting_bytes = 0
        self._max_waiting_bytes = max_waiting_bytes
        self._lane = "unknown"  # until a worker has reported the programs' billing

    async def open(self, request: Outgoing) -> Opened:
        """Place the turn and wait for the first frame, so that a refusal still has a status of its
        own. Raises QuotaReached.
        """
        document = request.parsed()
        record = request.record
        # A guess from the last turn's worker; the head of this turn corrects it.
        record.billed_to = self._lane
        self._quota.admit(record)
        # A large body is parsed only here, so the conversation in its metadata is known only now.
        record.session_id = request.session or _metadata_field(document, "session_id")
        directory = request.headers.get(DIRECTORY_HEADER, b"").decode(
            "utf-8", "replace"
        ) or _metadata_field(document, "cwd")
        record.working_directory = directory
        turn = Turn(
            record.request_id, document, record.caller, record.session_id or None, directory or None
        )
        turn.message_mode = read_message_mode(request.headers)
        turn.traceparent = request.trace.attempt(record)
        turn.managed = request.managed
        # A turn of a managed session that was cut off is reported as such, and never asked for
        # again.
        turn.repeat = "" if turn.managed is not None else repeat_of(turn)
        if request.taking is not None:
            request.note_sent(WORKERS_ADDRESS, {}, dump_json(document))
        wanted = read_choice(request.headers)
        choice = await choose_workers(self._bus, wanted) if wanted else None
        first, frames, leave = await self._begin(turn, request, choice)
        headers = with_ignored([(b"content-type", b"text/event-stream; charset=utf-8")], record)
        opened = request.watched(Opened(200, headers, _with_first(first, frames), leave))
        return opened if document.get("stream") is True else await _whole(opened)

    async def give_result(self, worker: str, result: CustomResult) -> None:
        """Hand a client's result to the call that waits in the worker at the address `worker`.
        Raises NotFound if the call does not wait any more, NoWorker, WorkerLost, BusUnavailable.
        """
        async with self._bus.call(CUSTOM_RESULTS.at(worker), result) as replies:
            async for _ in replies:
                pass

    async def _begin(self, turn: Turn, request: Outgoing, choice: WorkerChoice | None) -> Begun:
        """Begin the turn at the worker from `_kept_by`, if alive and with a free slot; else at any
        worker, or at any of `choice`.
        """
        kept_by = await self._kept_by(turn)
        if kept_by and (choice is None or instance_of(kept_by) in choice.names):
            # The worker has ended, or has no free slot. The turn did not begin there, so any worker
            # may run it.
            with contextlib.suppress(NoWorker, Busy):
                return await self._call(SDK_TURN.at(kept_by), turn, request)
        try:
            line = self._line
            if choice is not None:
                line = replace(choice.queue, max_length=self._line.max_length)
            return await self._call(line, turn, request)
        except Busy:
            self._metrics.refused.inc()
            raise

    async def _kept_by(self, turn: Turn) -> str:
        """Return the worker still running the same turn for a cut-off caller, else the worker with
        the conversation's process; an empty text for neither.
        """
        if turn.repeat and (left := await self._bus.get(left_key(turn.repeat))):
            return left.decode()
        stored = await self._bus.get(session_key(turn)) if turn.session_id else None
        return decode_payload(KnownSession, stored).kept_by if stored else ""

    async def _call(self, channel: Channel, turn: Turn, request: Outgoing) -> Begun:
        record = request.record
        # Until the first frame is here, every failure closes the call, which cancels the turn.
        async with AsyncExitStack() as stack:
            with self._metrics.waiting.track_inprogress(), self._wait(request):
                replies = await stack.enter_async_context(
                    self._bus.call(channel, turn, request_id=record.request_id)
                )
                head = await anext(replies, b"")
            if head:
                self._note_head(decode_payload(TurnHead, head), record)
            frames = self._frames(replies, record)
            first = await anext(frames, b"")
            if not first:
                raise UpstreamError("The SDK worker ended the turn without an answer.")
            # From here on the reader of the frames closes the call.
            return first, frames, stack.pop_all().aclose

    @contextlib.contextmanager
    def _wait(self, request: Outgoing) -> Iterator[None]:
        """Count the body of `request` while it waits in Redis for a worker, and measure the time as
        a wait for a worker.

        From then on the worker keeps the limits of the turn. Raises Busy past the limit of bytes.
        """
        size = len(request.serialised())
        # A body that waits alone is accepted at any size, or it could never be sent.
        if self._waiting_bytes and self._waiting_bytes + size > self._max_waiting_bytes:
            raise Busy(
                "The requests that wait for an SDK worker are too large together; try again "
                "shortly."
            )
        self._waiting_bytes += size
        if request.active is not None:
            request.active.silence = NO_FREE_WORKER
        try:
            yield
        finally:
            self._waiting_bytes -= size
        # Reached only when a worker has taken the turn. A limit of our own on the first frame would
        # end a turn that the worker still allows.
        if request.active is not None:
            request.active.silence = WORKER_SILENT
            request.active.limit = math.inf
            request.active.touch()

    async def _frames(self, replies: Call, record: AccessRecord) -> AsyncIterator[bytes]:
        """Yield the turn's frames; note cost and quota from the tail of the turn."""
        async for reply in replies:
            # A frame begins with the name of a field; only the tail is a JSON object.
            if not reply.startswith(b"{"):
                yield reply
                continue
            tail = decode_payload(TurnTail, reply)
            record.cost_sdk_usd = tail.cost_usd
            record.num_turns = tail.num_turns
            record.worker_ms = tail.worker_ms
            if tail.limits:
                self._quota.learn_report(record, tail.limits)

    def _note_head(self, head: TurnHead, record: AccessRecord) -> None:
        record.worker = head.worker
        record.queue_ms = head.queue_ms
        record.billed_to = head.billed_to
        record.session_id = head.session_id or record.session_id
        note_ignored(record, head.ignored)
        self._metrics.waited.observe(head.queue_ms / 1000)
        self._lane = head.billed_to


def repeat_of(turn: Turn) -> str:
    """Return the hash of a turn, equal for streamed and whole: some clients give up streaming for
    the second try.
    """
    asked = {name: value for name, value in turn.body.items() if name != "stream"}
    place = [turn.caller, turn.working_directory, turn.session_id, turn.message_mode]
    return sha256(encode_payload([*place, asked])).hexdigest()


def read_message_mode(headers: dict[bytes, bytes]) -> str:
    """Return the wanted display of the agent's own tools; empty when the headers name no mode.
    Raises ClientError.
    """
    mode = headers.get(MESSAGES_HEADER, b"").decode("latin-1").strip().lower()
    if mode and mode not in get_args(MessageMode):
        raise ClientError(
            f"x-ccproxy-sdk-messages: {mode!r} is not one of forward, formatted, ignore."
        )
    return mode


def _metadata_field(document: dict[str, Any], name: str) -> str:
    """Return the caller's text for `name` in the request's metadata; an empty text without such a
    field.
    """
    metadata = document.get("metadata")
    told = metadata.get(name) if isinstance(metadata, dict) else None
    return told if isinstance(told, str) else ""


async def _with_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for frame in rest:
        yield frame


async def _whole(opened: Opened) -> Opened:
    """Return the stream folded into a single message. An error in mid-stream becomes an error
    response.
    """
    parser = Parser()
    whole = WholeMessage()
    try:
        async for chunk in opened.chunks:
            for event in parser.feed(chunk):
                whole.feed(load_json(event.data))
    finally:
        await opened.aclose()
    if whole.error is not None:
        raise UpstreamRefused(status=502, body=dump_json(whole.error))
    if not whole.stopped:
        raise UpstreamError("The turn ended before its last event.")
    headers = [(b"content-type", b"application/json"), *opened.headers[1:]]
    body = dump_json(_answer_last(whole.message))
    return Opened(200, headers, _with_first(body, _nothing()), opened.aclose)


def _answer_last(message: dict[str, Any]) -> dict[str, Any]:
    """Return `message` with the blocks about the run beside the content: clients read
    `content[-1].text`.
    """
    about = [block for block in message["content"] if block["type"] in ABOUT_THE_RUN]
    content = [block for block in message["content"] if block not in about]
    return message | {"content": content, "claude_code_sdk": about} if about else message


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield
