"""Where the handler connects to, and what the log says in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.permissions.commands import log_row, stack_at
from ccproxy.cli.stack_options import CHOSEN_URL
from shared.runtime.times import local_minute
from shared.settings.tree import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv(CHOSEN_URL, "")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return Settings(_env_file=None, server={"run_dir": tmp_path, "port": 8123})


@pytest.mark.parametrize(
    ("host", "port", "url"),
    [
        (None, None, "http://127.0.0.1:8123"),
        ("box", None, "http://box:8123"),
        (None, 9, "http://127.0.0.1:9"),
        ("::1", 9, "http://[::1]:9"),
        ("https://box.example/", None, "https://box.example"),
    ],
)
def test_the_gateway_asked_for_is_the_one_used(
    settings: Settings, host: str | None, port: int | None, url: str
) -> None:
    assert stack_at(settings, host, port).url == url


def test_unasked_it_is_the_one_of_this_run_directory(settings: Settings) -> None:
    (settings.server.run_dir / "lock").write_text(
        json.dumps({"pid": 1, "url": "http://127.0.0.1:4711"})
    )
    assert stack_at(settings, None, None).url == "http://127.0.0.1:4711"


def row(**fields: Any) -> dict[str, Any]:
    known = {
        "asked_at": "2026-01-02T03:04:05.000000Z",
        "tool_name": "Bash",
        "input": '{"command":"ls"}',
        "caller": "",
    }
    decided = {
        "outcome": "allowed",
        "decided_by": "bob",
        "rule": "",
        "updated_input": "",
        "waited_ms": 1234.5,
    }
    return known | decided | fields


def test_a_line_of_the_log_says_what_by_whom_and_after_how_long() -> None:
    assert log_row(row()) == [
        local_minute("2026-01-02T03:04:05Z"),
        "Bash",
        "ls",
        "local",
        "allowed",
        "bob",
        "1.2 s",
    ]
    assert log_row(row(updated_input="{}"))[4] == "allowed, edited"
    assert log_row(row(decided_by="rule", rule="rule_1"))[5] == "rule_1"


def test_an_input_that_was_cut_is_shown_as_far_as_it_goes() -> None:
    assert log_row(row(input='{"command":"' + "x" * 100 + "…"))[2].endswith("…")
