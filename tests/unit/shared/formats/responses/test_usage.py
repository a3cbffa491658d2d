"""Cached tokens stand beside the input; what is no count says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from shared.formats.ir import Usage
from shared.formats.responses.usage import read_usage


def test_cached_tokens_are_taken_out_of_the_input() -> None:
    told = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "output_tokens": 20,
        "output_tokens_details": {"reasoning_tokens": 5},
    }
    assert read_usage(told) == Usage(
        input=30, cache_read=60, cache_write=10, output=20, reasoning=5
    )


@pytest.mark.parametrize(
    "odd", [None, 7, "x", [], {"input_tokens": "9", "input_tokens_details": 3}]
)
def test_what_is_no_count_is_nothing(odd: Any) -> None:
    assert read_usage(odd) == Usage()
