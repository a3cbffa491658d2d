"""A message says who asks, and no more unless the owner wants it; Allow needs the whole input."""

from __future__ import annotations

from typing import Any

import pytest

from permission_service.alerts.alert import Alert
from permission_service.notify.messages import (
    MAX_TEXT_BYTES,
    Notification,
    alert_message,
    news_message,
    report_message,
    request_message,
)
from permission_service.requests import PermissionRequests
from shared.bus.channels import PermissionRequest
from shared.bus.session_reports import SessionReport

NEWS = {"kind": "waits", "program": "Codex", "machine": "tower", "folder": "/src/x", "text": "Hm"}


def message(tool: str = "Bash", details: bool = True, **given: Any) -> Notification:
    ask = PermissionRequest(
        "r",
        tool,
        given or {"command": "cat secret.txt"},
        caller="alice",
        program="Claude Code",
        machine="tower",
        working_directory="/src/secret",
        asked_at=5.0,
    )
    requests = PermissionRequests(300)
    return request_message(requests.present(requests.open(ask, 5.0)), details=details)


def test_without_details_a_message_names_the_agent_the_tool_and_the_machine_alone() -> None:
    found = message(details=False)
    assert found.title == "Claude Code asks for permission: Bash"
    assert found.text == "Caller: alice\nMachine: tower"
    assert "secret" not in repr(found)
    assert (found.id, found.request_id, found.may_allow) == ("permission-r", "r", True)


def test_with_details_a_message_shows_the_command_and_the_folder() -> None:
    found = message()
    assert found.title == "Claude Code: Run a command"
    assert "Command: cat secret.txt" in found.text
    assert "Folder: /src/secret" in found.text
    assert found.may_allow is True


@pytest.mark.parametrize("command", ["x" * MAX_TEXT_BYTES, "é" * MAX_TEXT_BYTES, "x" * 200_000])
def test_a_message_that_cannot_show_all_says_so_and_offers_no_allow(command: str) -> None:
    found = message(command=command)
    assert found.may_allow is False
    assert "Open the page" in found.text or "hidden" in found.text
    assert len(found.text.encode()) < MAX_TEXT_BYTES + 200


def test_a_diff_is_shown_with_its_marks() -> None:
    found = message("Edit", file_path="/a", old_string="one", new_string="two")
    assert "- one" in found.text
    assert "+ two" in found.text


@pytest.mark.parametrize("details", [True, False])
def test_a_question_is_not_answered_by_a_button(details: bool) -> None:
    options = [{"label": "red", "description": ""}, {"label": "blue", "description": ""}]
    questions = [{"question": "Which?", "header": "H", "options": options, "multiSelect": False}]
    found = message("AskUserQuestion", details, questions=questions)
    assert found.may_allow is False
    assert ("Which?" in found.text) is details


def test_a_hidden_character_is_shown_as_its_escape() -> None:
    assert "\\u202e" in message(command="ls \u202e").text
    assert "\\u202e" in message("Ba\u202esh", details=False).title


def test_news_name_the_agent_and_its_words_only_with_details() -> None:
    found = news_message("news-1", NEWS, 5.0, details=False)
    assert (found.title, found.text) == ("Codex waits for you", "Machine: tower")
    found = news_message("news-1", NEWS, 5.0, details=True)
    assert found.text == "Hm\nFolder: /src/x\nMachine: tower"
    bare = news_message("news-1", {"kind": "done"}, 5.0, details=True)
    assert (bare.title, bare.text) == ("An agent is done", "An agent is done")


def test_the_message_of_an_alert_is_escaped_and_has_facts_for_programs() -> None:
    alert = Alert("alert-1", "budget", "c\x1bi: $5", "near", "Token c\x1bi", "", 5.0, quiet=True)
    found = alert_message(alert)
    assert (found.id, found.type, found.quiet, found.urgent) == ("alert-1", "alert", True, False)
    assert "\x1b" not in found.title + found.text
    assert found.text == found.title
    assert found.facts == {"kind": "budget", "subject": "c\x1bi: $5", "level": "near"}


def test_a_report_of_a_session_names_the_agent_and_its_words_only_with_details() -> None:
    report = SessionReport(
        "sevt_1", "sesn_1", "", "failed", 5.0, "hel\x1bper", "Ship it", "/srv/x", "The turn failed."
    )
    found = report_message(report, details=False)
    assert (found.title, found.text) == ("hel\\u001bper has failed", "Session: sesn_1")
    found = report_message(report, details=True)
    assert found.text == "The turn failed.\nTitle: Ship it\nFolder: /srv/x\nSession: sesn_1"
    assert found.facts == {"session_id": "sesn_1", "caller": "local"}
