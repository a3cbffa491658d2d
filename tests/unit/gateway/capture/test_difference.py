"""The difference of two requests: whole blocks first, then lines, in bounded size."""

from __future__ import annotations

import time
from typing import Any

from gateway.capture.blocks import prompt_blocks
from gateway.capture.difference import MOST_SHOWN, blocks_difference, changed_lines


def request(system: str, *texts: str) -> list[Any]:
    return prompt_blocks(
        {"system": system, "messages": [{"role": "user", "content": t} for t in texts]}
    )


def kinds(before: list[Any], after: list[Any]) -> list[str]:
    return [change["change"] for change in blocks_difference(before, after)]


def test_equal_requests_are_one_change_that_is_none() -> None:
    assert kinds(request("s", "a", "b"), request("s", "a", "b")) == ["same"]


def test_a_further_message_is_added() -> None:
    found = blocks_difference(request("s", "a"), request("s", "a", "b"))
    assert [each["change"] for each in found] == ["same", "added"]
    assert found[0]["blocks"] == 2
    assert found[1]["text"] == "b"


def test_a_message_that_is_gone_is_removed() -> None:
    assert kinds(request("s", "a", "b", "c"), request("s", "a", "c")) == ["same", "removed", "same"]


def test_a_changed_block_shows_its_lines() -> None:
    found = blocks_difference(request("one\ntwo\nthree", "a"), request("one\n2\nthree", "a"))
    assert [each["change"] for each in found] == ["changed", "same"]
    marks = [(line["mark"], line["text"]) for line in found[0]["lines"]]
    assert marks == [(" ", "one"), ("-", "two"), ("+", "2"), (" ", "three")]


def test_far_lines_that_are_equal_are_counted() -> None:
    before = "\n".join(map(str, range(100)))
    lines = changed_lines(before, before.replace("50", "fifty"))
    assert [line["text"] for line in lines if line["mark"] == "@"] == [
        "48 equal lines",
        "47 equal lines",
    ]


def test_a_difference_of_any_size_is_bounded() -> None:
    before = "\n".join(f"line {number}" for number in range(30_000))
    after = "\n".join(f"other {number}" for number in range(30_000))
    begun = time.process_time()
    lines = changed_lines(before, after)
    assert time.process_time() - begun < 10
    assert len(lines) == MOST_SHOWN + 1
    assert len(changed_lines("a" * 100_000, "b" * 100_000)[0]["text"]) < 3000
