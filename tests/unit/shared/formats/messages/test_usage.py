"""Counts are read once for all; what is no count says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from shared.formats.ir import Usage
from shared.formats.messages.usage import merge_usage, read_usage


def test_every_count_is_read() -> None:
    told = {
        "input_tokens": 1,
        "cache_read_input_tokens": 2,
        "cache_creation_input_tokens": 3,
        "output_tokens": 4,
        "output_tokens_details": {"thinking_tokens": 5},
        "cache_creation": {"ephemeral_1h_input_tokens": 6},
    }
    assert read_usage(told) == Usage(1, 2, 3, 4, 5, 6)


@pytest.mark.parametrize("odd", ["9", None, -1, True, [], {}, 1.5])
def test_what_is_no_count_is_nothing(odd: Any) -> None:
    names = ("input_tokens", "output_tokens", "output_tokens_details", "cache_creation")
    assert read_usage(dict.fromkeys(names, odd)) == Usage()


def test_later_counts_replace_earlier_ones() -> None:
    known = merge_usage(
        {"input_tokens": 1, "output_tokens": 1}, {"output_tokens": 9, "input_tokens": None}
    )
    assert known == {"input_tokens": 1, "output_tokens": 9}
    assert merge_usage(known, "many") == known
