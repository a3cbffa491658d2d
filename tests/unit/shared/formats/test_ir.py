"""The model's own small promises."""

from __future__ import annotations

import dataclasses

import pytest

from shared.formats.ir import Prompt, Text, Usage


def test_the_prompt_side_of_usage_counts_each_token_once() -> None:
    usage = Usage(input=5, cache_read=100, cache_write=20, output=7, reasoning=3)
    assert (usage.prompt, usage.total) == (125, 132)


def test_values_cannot_be_changed_behind_anybodys_back() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Text("x").text = "y"  # type: ignore[misc]
    assert not hasattr(Prompt("m"), "__dict__")
