from __future__ import annotations

import json

import pytest
from rich.console import Console
from rich.text import Text

from ccproxy.cli.checks import Finding
from ccproxy.cli.doctor import closing_line, examine, indented, merged, show_findings


@pytest.fixture
def here(monkeypatch, tmp_path):
    """A machine where everything is answered at once: nobody is behind the providers' addresses."""
    monkeypatch.chdir(tmp_path)
    nobody = {
        "CLAUDE__BASE_URL": "http://127.0.0.1:1",
        "CODEX__BASE_URL": "http://127.0.0.1:1",
        "SDK__WORKERS": "0",
    }
    for name, value in {
        "HOME": str(tmp_path),
        "CONFIG_FILE": "",
        "SERVER__PORT": "0",
        **nobody,
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SERVER__RUN_DIR", str(tmp_path / "run"))
    return tmp_path


def test_everything_is_looked_at_and_something_wrong_is_an_exit_code(here, capsys):
    assert examine(url=None, as_json=True) == 1
    findings = json.loads(capsys.readouterr().out)
    assert {"configuration", "port", "redis", "/api", "/codex", "claude provider"} <= {
        each["about"] for each in findings
    }
    assert {each["status"] for each in findings} <= {"pass", "warn", "fail"}


def test_a_configuration_that_cannot_be_used_is_all_there_is_to_say(here, capsys):
    (here / "ccproxy.toml").write_text("[server]\nprot = 1\n")
    assert examine(url=None, as_json=False) == 1
    said = capsys.readouterr().out
    assert said.startswith("wrong  configuration")
    assert "ccproxy.toml:2" in said
    assert "config check" in said


def test_a_fix_stands_below_what_is_wrong(capsys):
    show_findings(
        [
            Finding("port", "fail", "is [taken]", "Choose another."),
            Finding("user", "pass", "is nobody special"),
        ]
    )
    assert capsys.readouterr().out.splitlines() == [
        "wrong  port: is [taken]",
        "       Choose another.",
        "ok     user: is nobody special",
    ]


def test_findings_that_say_the_same_are_shown_once():
    missing = "No credentials were found."
    findings = [
        Finding("/api", "fail", missing),
        Finding("/sdk", "fail", missing),
        Finding("/codex", "pass", "plus login"),
    ]
    assert list(merged(findings)) == [
        Finding("/api, /sdk", "fail", missing),
        Finding("/codex", "pass", "plus login"),
    ]


def test_the_closing_line_counts_problems_and_notes():
    fail = Finding("port", "fail", "is taken")
    note = Finding("user", "warn", "is root")
    fine = Finding("redis", "pass", "is there")
    assert closing_line([fail, fail, note, fine]) == "2 problems, 1 note."
    assert closing_line([fail]) == "1 problem."
    assert closing_line([fine]) == "No problems."


def test_a_long_finding_goes_on_below_its_sentence():
    console = Console(width=27, force_terminal=True)
    assert indented(Text("one two three four five six"), console).plain.splitlines() == [
        "one two three four ",
        "       five six",
    ]


def test_a_request_without_a_stack_is_a_problem(here, capsys):
    assert examine(url=None, as_json=True, send=True) == 1
    findings = json.loads(capsys.readouterr().out)
    [request] = [each for each in findings if each["about"] == "request"]
    assert request["says"] == "nothing was sent: no stack is running"
