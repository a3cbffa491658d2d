"""Captured requests as lines: every fact is said, and nothing that is missing is hidden."""

from __future__ import annotations

from typing import Any

from ccproxy.cli.capture_view import (
    BLOCK_COLUMNS,
    LIST_COLUMNS,
    answer_text,
    capture_facts,
    capture_row,
    captured_block_rows,
    difference_lines,
    switches_in_words,
)

UNTIL = "2026-11-29T12:00:00+00:00"
PART: dict[str, Any] = {"left_out": "", "is_cut": False, "is_whole": True, "size": 5}
SUMMARY: dict[str, Any] = {
    "id": "req_1", "at": UNTIL, "status": 200, "method": "POST", "path": "/api/v1/messages", "duration_ms": 1234.5,
    "model": "claude-x", "provider": "claude", "session": "", "caller": "laptop", "error": "", "removed": {"github_token": 2},
}  # fmt: skip
CAPTURE: dict[str, Any] = {
    "summary": SUMMARY,
    "tokens": 1200,
    "blocks": [{"label": "1. user", "tokens": 1200, "share": 1.0, "text": "hello\n  there" * 20}],
    "answer": [{"kind": "thinking", "text": "Hm."}, {"kind": "text", "text": "Hello."}],
    "request": PART,
    "sent": PART | {"is_cut": True},
    "provider_answer": PART | {"is_whole": False},
    "reply": PART | {"left_out": "It is no text."},
}


def test_a_state_is_said_with_its_end() -> None:
    assert switches_in_words({"on": False, "switches": [], "lost": 0}) == "Capture is off."
    on = {"on": True, "lost": 1, "switches": [
        {"kind": "everything", "name": "", "until": UNTIL}, {"kind": "token", "name": "laptop", "until": UNTIL}]}  # fmt: skip
    said = switches_in_words(on)
    assert said.startswith("Capture is on: every request until ")
    assert "token laptop until " in said
    assert said.endswith("1 captures were lost.")


def test_a_row_has_a_cell_for_each_column() -> None:
    assert len(capture_row(SUMMARY)) == len(LIST_COLUMNS)
    [row] = captured_block_rows(CAPTURE)
    assert len(row) == len(BLOCK_COLUMNS)
    assert row[1:4] == ["1,200", "100.0 %", "1. user"]
    assert "\n" not in row[4]


def test_what_is_missing_is_said() -> None:
    lines = "\n".join(capture_facts(CAPTURE))
    assert "Removed before it was written: 2 × github token." in lines
    assert "The body of the sent was cut; it had 5 bytes." in lines
    assert "The provider answer broke off." in lines
    assert "The body of the reply is not here: It is no text. (5 bytes)" in lines


def test_a_reply_says_which_text_is_which() -> None:
    assert answer_text(CAPTURE) == "[thinking] Hm.\nHello."
    assert answer_text({"answer": []}) == "(no text)"


def test_a_difference_names_its_blocks_and_lines() -> None:
    assert difference_lines({"before": None, "changes": []}) == [
        "There is no captured request before this one in its session."
    ]
    lines = difference_lines({"before": SUMMARY, "changes": [
        {"change": "same", "blocks": 2, "tokens": 10},
        {"change": "added", "label": "2. user", "tokens": 3, "text": "a\nb"},
        {"change": "changed", "label": "System prompt", "tokens": 3, "lines": [{"mark": "-", "text": "x"}]},
    ]})  # fmt: skip
    assert lines[1:] == [
        "  2 equal blocks, 10 tokens", "+ 2. user, 3 tokens", "    + a", "    + b",
        "~ System prompt, 3 tokens", "    - x",
    ]  # fmt: skip
