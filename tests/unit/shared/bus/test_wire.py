"""What travels, and the writer that survives a Redis that comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from shared.bus.wire import (
    MAX_PAYLOAD,
    WRITE_AT_ONCE,
    CommandQueue,
    WireMessage,
    check_size,
    instance_of,
    writable,
)
from shared.runtime.errors import BusUnavailable, ClientError, TooLarge


class Pipeline:
    """Answers each command with itself while `answering`; raises while `broken`."""

    def __init__(self) -> None:
        self.up = asyncio.Event()
        self.up.set()
        self.sent = asyncio.Event()
        self.answering = asyncio.Event()
        self.answering.set()
        self.batches: list[list[tuple[Any, ...]]] = []
        self.broken = False

    async def __call__(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        self.batches.append(list(commands))
        self.sent.set()
        await asyncio.sleep(0)
        await self.answering.wait()
        if self.broken:
            self.up.clear()
            raise BusUnavailable
        return [
            BusUnavailable("no memory") if command[0] == "refused" else command
            for command in commands
        ]

    def mend(self) -> None:
        self.broken = False
        self.up.set()


def test_a_message_reads_back_what_it_wrote():
    message = WireMessage(b"reply", b"7", b"abc", 3, b"\x00\xff\r\n")
    fields = message.fields()
    answered = [str(value).encode() if isinstance(value, int) else value for value in fields]
    assert WireMessage.read(dict(zip(answered[::2], answered[1::2], strict=True))) == message


def test_a_message_of_another_version_keeps_what_can_be_read():
    assert WireMessage.read({b"k": b"end", b"new": b"1"}) == WireMessage(b"end")


@pytest.mark.parametrize("instance", ["w0", "host-1:2", ""])
def test_an_address_names_its_instance(instance: str):
    assert instance_of(f"sdk_worker:{instance}:123-abc") == instance


def test_nobody_has_the_empty_address():
    assert instance_of("") == ""


def test_the_largest_payload_passes_and_one_byte_more_does_not():
    assert len(check_size(bytes(MAX_PAYLOAD))) == MAX_PAYLOAD
    with pytest.raises(TooLarge, match=str(MAX_PAYLOAD)):
        check_size(bytes(MAX_PAYLOAD + 1))


async def test_commands_of_one_turn_leave_together_in_order():
    pipeline = Pipeline()
    writer = CommandQueue(pipeline, pipeline.up)
    answers = await asyncio.gather(*(writer.post(number) for number in range(WRITE_AT_ONCE + 1)))
    assert answers == [(number,) for number in range(WRITE_AT_ONCE + 1)]
    assert [len(batch) for batch in pipeline.batches] == [WRITE_AT_ONCE, 1]


async def test_one_refused_command_fails_alone():
    pipeline = Pipeline()
    writer = CommandQueue(pipeline, pipeline.up)
    refused, fine = writer.post("refused"), writer.post("fine")
    with pytest.raises(BusUnavailable, match="no memory"):
        await refused
    assert await fine == ("fine",)


async def test_when_redis_is_away_patient_writes_wait_in_order_and_others_fail_at_once():
    pipeline = Pipeline()
    pipeline.broken = True
    writer = CommandQueue(pipeline, pipeline.up)
    first, impatient, second = (
        writer.post(1, patient=True),
        writer.post(2),
        writer.post(3, patient=True),
    )
    with pytest.raises(BusUnavailable):
        await impatient
    pipeline.mend()
    later = writer.post(4, patient=True)
    assert await asyncio.gather(first, second, later) == [(1,), (3,), (4,)]
    assert pipeline.batches == [[(1,), (2,), (3,)], [(1,), (3,), (4,)]]


async def test_what_its_asker_gave_up_is_not_written_unless_the_order_depends_on_it():
    pipeline = Pipeline()
    writer = CommandQueue(pipeline, pipeline.up)
    given_up, numbered = writer.post("given up"), writer.post("numbered", patient=True)
    given_up.cancel()
    numbered.cancel()
    await writer.written()
    assert pipeline.batches == [[("numbered",)]]


async def test_stopping_ends_those_who_wait():
    pipeline = Pipeline()
    pipeline.broken = True
    writer = CommandQueue(pipeline, pipeline.up)
    waiting, impatient = writer.post(1, patient=True), writer.post(2)
    with pytest.raises(BusUnavailable):
        await impatient
    await writer.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_batch_on_its_way_at_the_stop_gets_its_answers():
    pipeline = Pipeline()
    pipeline.answering.clear()
    writer = CommandQueue(pipeline, pipeline.up)
    record, acknowledgement = writer.post("record"), writer.post("ack", patient=True)
    await pipeline.sent.wait()
    stopping = asyncio.create_task(writer.stop())
    await asyncio.sleep(0)
    pipeline.answering.set()
    await stopping
    assert await asyncio.gather(record, acknowledgement) == [("record",), ("ack",)]


async def test_a_batch_that_redis_never_answers_holds_up_no_stop():
    pipeline = Pipeline()
    pipeline.answering.clear()
    writer = CommandQueue(pipeline, pipeline.up, last_batch_seconds=0.01)
    sent = writer.post("record")
    await pipeline.sent.wait()
    queued = writer.post("later")
    await writer.stop()
    assert sent.cancelled()
    assert queued.cancelled()


@pytest.mark.parametrize(
    "fields", [{b"k": b"reply", b"n": b"three"}, {b"k": b"exited", b"d": b"\xff"}]
)
def test_an_entry_that_is_no_message_is_refused(fields: dict[bytes, bytes]) -> None:
    with pytest.raises(ClientError):
        WireMessage.read(fields)


@pytest.mark.parametrize("text", ["plain", "\U0001f600", "half \ud83d", "\udc80"])
def test_every_text_can_be_written_and_read_again(text: str) -> None:
    written = writable(text)
    assert (
        written if isinstance(written, str) else written.decode("utf-8", "surrogatepass")
    ) == text
