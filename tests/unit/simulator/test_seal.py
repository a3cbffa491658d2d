"""Seals cover their mark and the text beside them, and only their maker's open."""

from __future__ import annotations

import pytest

from simulator.seal import REASONING, THOUGHTS

SEALED = THOUGHTS.seal("1", "I wonder")


def test_a_seal_opens_over_its_own_text_only() -> None:
    assert THOUGHTS.open(SEALED, "I wonder") == "1"
    assert THOUGHTS.open(SEALED, "I wander") is None


def test_two_replies_seal_the_same_text_differently() -> None:
    assert THOUGHTS.seal("2", "I wonder") != SEALED


@pytest.mark.parametrize(
    "sealed", ["", "not base64!", "gAAAA", SEALED[4:], SEALED[:-4] + "AAA=", SEALED + "AAAA"]
)
def test_a_damaged_seal_is_void(sealed: str) -> None:
    assert THOUGHTS.open(sealed, "I wonder") is None


def test_no_provider_takes_anothers() -> None:
    assert REASONING.open(THOUGHTS.seal("rs_1")) is None
    assert REASONING.open(REASONING.seal("rs_1")) == "rs_1"
