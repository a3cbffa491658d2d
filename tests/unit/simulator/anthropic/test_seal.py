"""Signatures of thinking blocks."""

from __future__ import annotations

import pytest

from simulator.anthropic.seal import is_sealed, seal


def test_a_signature_fits_its_own_text_only() -> None:
    signature = seal("I wonder", "1")
    assert is_sealed(signature, "I wonder")
    assert not is_sealed(signature, "I wander")


def test_two_replies_sign_the_same_text_differently() -> None:
    assert seal("same", "1") != seal("same", "2")


@pytest.mark.parametrize("signature", ["", "not base64!", "AAAA", seal("x", "1")[:-4] + "AAA="])
def test_a_damaged_signature_is_void(signature: str) -> None:
    assert not is_sealed(signature, "x")
