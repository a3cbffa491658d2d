"""Capture in one gateway: on and off, restart, a store that cannot be written, and no cost when
off.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.capture.captures import Captures
from gateway.capture.switch import CaptureSwitch
from gateway.capture.taking import Taking
from shared.bus.channels import AccessRecord
from shared.runtime.errors import StoreUnavailable

LATER = time.time() + 3600
EVERYTHING = CaptureSwitch("everything", "", LATER)


def opened(path: Path, **options: Any) -> Captures:
    return Captures(path / "captures", 1_000_000, 10_000, **({"look_seconds": 0.01} | options))


def record(number: int = 1, **facts: Any) -> AccessRecord:
    return AccessRecord(f"req_{number:024x}", float(number), **facts)


def take(captures: Captures, number: int = 1, **facts: Any) -> Taking | None:
    taken = captures.begin(record(number, **facts))
    if taken is not None:
        taken.note_request({}, b'{"a":1}')
        captures.end(taken)
    return taken


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what the task of a gateway does by itself."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the switch has no event of its own
            await asyncio.sleep(0.005)


def ids(captures: Captures) -> list[str]:
    return [each.id[-1] for each in captures.store.summaries()]


async def test_nothing_is_captured_until_the_owner_wants_it(tmp_path: Path) -> None:
    async with opened(tmp_path) as captures:
        assert not captures.is_on
        assert take(captures) is None
        await captures.settle()
    assert not (tmp_path / "captures").exists()


async def test_a_token_s_requests_are_captured_and_no_others(tmp_path: Path) -> None:
    async with opened(tmp_path) as captures:
        await captures.turn_on(CaptureSwitch("token", "laptop", LATER))
        assert take(captures, 1, caller="phone") is None
        assert take(captures, 2, caller="laptop") is not None
        await captures.settle()
        assert ids(captures) == ["2"]
        assert captures.store.summaries()[0].switch == "token laptop"


async def test_a_session_that_is_known_only_at_the_end_is_captured(tmp_path: Path) -> None:
    async with opened(tmp_path) as captures:
        await captures.turn_on(CaptureSwitch("session", "mine", LATER))
        late = captures.begin(record(1))
        other = captures.begin(record(2))
        assert late is not None
        assert other is not None
        late.record.session_id = "mine"
        captures.end(late)
        captures.end(other)
        await captures.settle()
        assert ids(captures) == ["1"]


async def test_switches_hold_over_a_restart_and_captures_stay(tmp_path: Path) -> None:
    async with opened(tmp_path) as captures:
        await captures.turn_on(EVERYTHING)
        take(captures, 1)
    async with opened(tmp_path) as captures:
        assert captures.is_on
        assert ids(captures) == ["1"]
        await captures.turn_off()
    async with opened(tmp_path) as captures:
        assert not captures.is_on
        assert ids(captures) == ["1"]


async def test_another_gateway_follows_the_switch(tmp_path: Path) -> None:
    async with opened(tmp_path) as one, opened(tmp_path) as other:
        await one.turn_on(EVERYTHING)
        await until(lambda: other.is_on)
        take(one, 1)
        take(other, 2)
        await one.settle()
        await other.settle()
        assert ids(one) == ["2", "1"]
        await other.turn_off("everything")
        await until(lambda: not one.is_on)


async def test_a_switch_ends_by_itself(tmp_path: Path) -> None:
    async with opened(tmp_path) as captures:
        await captures.turn_on(CaptureSwitch("everything", "", time.time() + 0.05))
        await until(lambda: not captures.is_on)
        assert take(captures) is None
        assert captures.describe() == {"on": False, "switches": [], "lost": 0}


async def test_a_repeated_request_is_captured_while_capture_is_off(tmp_path: Path) -> None:
    async with opened(tmp_path) as captures:
        taken = captures.begin(record(3), repeats="req_1")
        assert taken is not None
        taken.note_request({}, b"{}")
        captures.end(taken)
        await captures.settle()
        [summary] = captures.store.summaries()
        assert (summary.switch, summary.repeats) == ("sent again", "req_1")


async def test_a_store_that_cannot_be_written_is_one_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(tmp_path) as captures:
        await captures.turn_on(EVERYTHING)
        directory = tmp_path / "captures"
        aside = directory.rename(tmp_path / "aside")
        directory.write_text("a file is in the way")
        with caplog.at_level(logging.WARNING):
            for number in range(3):
                taken = captures.begin(record(number))
                assert taken is not None
                captures.end(taken)
                await captures.settle()
        lost = [line for line in caplog.records if line.getMessage() == "capture_lost"]
        assert len(lost) == 1
        assert captures.lost == 3
        directory.unlink()
        aside.rename(directory)


async def test_a_directory_that_cannot_be_used_refuses_the_switch(tmp_path: Path) -> None:
    (tmp_path / "captures").write_text("a file is in the way")
    async with opened(tmp_path) as captures:
        with pytest.raises(StoreUnavailable, match="CAPTURE__DIRECTORY"):
            await captures.turn_on(EVERYTHING)
        assert not captures.is_on


async def test_a_damaged_file_of_switches_is_off(tmp_path: Path) -> None:
    (tmp_path / "captures").mkdir()
    (tmp_path / "captures/switches.json").write_text("{")
    async with opened(tmp_path) as captures:
        assert not captures.is_on


async def test_memory_is_given_back_once_requests_are_written(tmp_path: Path) -> None:
    async with opened(tmp_path, room_bytes=1000) as captures:
        await captures.turn_on(EVERYTHING)
        for number in range(300):
            taken = captures.begin(record(number))
            assert taken is not None
            taken.note_request({}, b"a" * 900)
            captures.end(taken)
            if number % 50 == 0:
                await captures.settle()
        await captures.settle()
        taken = captures.begin(record(999))
        assert taken is not None
        taken.note_request({}, b"a" * 900)
        captures.end(taken)
        await captures.settle()
        assert not captures.store.get(f"req_{999:024x}").request.is_cut


async def test_more_requests_than_can_wait_are_counted_as_lost(tmp_path: Path) -> None:
    async with opened(tmp_path) as captures:
        await captures.turn_on(EVERYTHING)
        for number in range(400):
            take(captures, number)  # the task has no turn in between
        assert captures.lost > 0
        await captures.settle()
        assert len(captures.store.summaries(limit=1000)) + captures.lost == 400
