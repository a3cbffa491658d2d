"""Fingerprints are written and read without loss, and comparable however coarse they are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shared.bus.fingerprints import (
    MOST_MESSAGES,
    Mark,
    PromptFingerprint,
    number_of,
    read_fingerprint,
)
from shared.runtime.errors import ClientError

LARGEST = 2**32 - 1
FULL = PromptFingerprint(
    "messages",
    {"thinking": LARGEST},
    (("Read", 1), ("Bäsh", LARGEST), ("half \ud83d", 2)),
    (0, 7),
    (1, 2, LARGEST),
    (Mark(0, 3, 3600), Mark(3, 9, 300)),
    3,
)
EMPTY = PromptFingerprint("responses", {}, (), (), ())


def of(count: int) -> PromptFingerprint:
    return replace(EMPTY, messages=tuple(range(count)), message_count=count)


@pytest.mark.parametrize("fingerprint", [FULL, EMPTY, of(5000).bounded()])
def test_a_fingerprint_is_read_as_it_was_written(fingerprint: PromptFingerprint) -> None:
    assert read_fingerprint(fingerprint.written()) == fingerprint


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", "[1]", FULL.written()[:-9] + "]", FULL.written().replace("[1,", "[2,", 1),
     FULL.written().replace('"AQAAAP', '"!')],
)  # fmt: skip
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(ClientError, match="fingerprint"):
        read_fingerprint(text)


def test_a_fingerprint_is_bounded_however_long_the_conversation() -> None:
    for count in (MOST_MESSAGES, MOST_MESSAGES + 1, 100_000):
        bounded = of(count).bounded()
        assert len(bounded.messages) <= MOST_MESSAGES
        assert bounded.message_count == count
    assert len(of(100_000).bounded().written()) < 6_500


def test_a_finer_fingerprint_can_be_made_as_coarse_as_another_one() -> None:
    short, long = of(1000), of(3001).bounded()
    assert long.group == 4
    assert short.coarser(4).messages == long.messages[:250]
    assert short.coarser(1) == short
    assert long.coarser(2) == long


def test_a_group_that_is_not_full_has_no_number() -> None:
    assert [len(of(count).coarser(4).messages) for count in (3, 4, 7, 8)] == [0, 1, 1, 2]


def test_the_number_of_data_continues_the_number_before_it() -> None:
    assert number_of(b"two", number_of(b"one ")) == number_of(b"one two") != number_of(b"two")
