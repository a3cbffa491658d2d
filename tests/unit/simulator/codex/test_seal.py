from __future__ import annotations

from simulator.codex.seal import opens, seal


def test_a_seal_opens_for_its_item_only() -> None:
    assert opens(seal("rs_1"), "rs_1")
    assert opens(seal("rs_1"), None)
    assert not opens(seal("rs_1"), "rs_2")


def test_anything_else_does_not_open() -> None:
    assert not any(opens(text, None) for text in ("", "rs_1", "gAAAA", seal("rs_1")[4:], "?"))
