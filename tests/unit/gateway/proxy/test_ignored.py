"""Names a caller chose are told back to it safely, each once."""

from __future__ import annotations

from gateway.proxy.ignored import MAX_LENGTH, note_ignored, with_ignored
from shared.bus.channels import AccessRecord


def test_each_name_is_told_once_and_in_order() -> None:
    record = AccessRecord("r", 0.0)
    note_ignored(record, ["seed", "top_p"])
    note_ignored(record, ["seed", "user"])
    assert with_ignored([(b"a", b"b")], record) == [
        (b"a", b"b"),
        (b"x-ccproxy-ignored", b"seed,top_p,user"),
    ]


def test_a_name_can_neither_break_the_header_nor_outgrow_it() -> None:
    record = AccessRecord("r", 0.0)
    note_ignored(record, ["a\r\nset-cookie: x", "b,c", "\0é", "x" * 5000])
    [(_, value)] = with_ignored([], record)
    assert value.startswith(b"a??set-cookie:?x,b?c,??,xxx")
    assert len(value) == MAX_LENGTH


def test_nothing_ignored_adds_no_header() -> None:
    assert with_ignored([(b"x-ccproxy-ignored", b"old")], AccessRecord("r", 0.0)) == []
