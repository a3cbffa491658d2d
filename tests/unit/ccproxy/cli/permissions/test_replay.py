"""The options of a replay, and the printed answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.permissions.replay import read_days, read_tried, show_replay
from shared.runtime.times import local_minute
from shared.settings.problems import ConfigurationError


@pytest.mark.parametrize(("since", "days"), [("30d", 30), ("12h", 0.5), ("1.5d", 1.5)])
def test_a_span_is_read_as_days(since: str, days: float) -> None:
    assert read_days(since) == days


@pytest.mark.parametrize("since", ["", "30", "0d", "d", "-1d", "30 days"])
def test_a_span_of_another_form_is_refused(since: str) -> None:
    with pytest.raises(ConfigurationError, match="30d"):
        read_days(since)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        read_tried(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"latin\.toml"):
        read_tried(tmp_path / "latin.toml")


ANSWER: dict[str, Any] = {
    "since": "2026-01-01T00:00:00Z",
    "judged": 0,
    "not_judged": 0,
    "limited": False,
    "counts": [],
    "differences": [],
    "more_differences": 0,
}


def test_counts_come_before_the_differences(capsys: pytest.CaptureFixture[str]) -> None:
    different = {
        "asked_at": "2026-01-02T03:04:05.000000Z",
        "tool_name": "Bash",
        "text": "make",
        "outcome": "denied",
        "decided_by": "bob",
        "becomes": "allow",
        "why": "allow Bash: make …",
    }
    counts = [
        {"outcome": "denied", "by_person": True, "becomes": "allow", "count": 3},
        {"outcome": "allowed", "by_person": False, "becomes": "ask", "count": 1},
    ]
    more = {"not_judged": 2, "limited": True, "more_differences": 2}
    show_replay(ANSWER | more | {"counts": counts, "differences": [different]})
    assert capsys.readouterr().out.splitlines() == [
        "3 denied: would be allowed",
        "1 allowed by a rule: would be asked of a person",
        "2 not judged: too little of them was kept",
        "Older requests of this time are not looked at: these are the latest.",
        "",
        f"{local_minute(different['asked_at'])}\tBash\tmake\tdenied by bob\tallowed\tallow Bash: make …",
        "and 2 more differences",
    ]


def test_a_time_without_requests_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    show_replay(ANSWER)
    assert capsys.readouterr().out == "No past request to judge.\n"
