"""`ccproxy notify test` shows what came back of each way, and fails when one failed; `list` shows
alerts and the agents' notices, `browsers` who gets messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.notify import send_tests, show_browsers, show_notices
from tests.support.loopback import LoopbackHandler, serving, url_of

NTFY = {"way": "ntfy", "sent": True, "answer": "HTTP 200"}
WEBHOOK = {"way": "webhook", "sent": False, "answer": "HTTP 403: no\x1b[2J"}


@pytest.fixture
def ways(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """A gateway that answers with the ways in this list."""
    found: list[dict[str, Any]] = []

    class Handler(LoopbackHandler):
        def do_POST(self) -> None:
            assert self.path == "/permissions/notifications/test"
            self.answer(200, {"ways": found})

        def do_GET(self) -> None:
            key = {"notices": "notices", "notifications/browsers": "browsers"}
            self.answer(200, {key[self.path.removeprefix("/permissions/")]: found})

    with serving(Handler) as server:
        monkeypatch.setenv("CCPROXY_STACK_URL", url_of(server))
        yield found


def test_each_way_is_shown_with_what_came_back(
    ways: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    ways += [NTFY]
    assert send_tests(as_json=False) == DONE
    ways += [WEBHOOK]
    assert send_tests(as_json=False) == FAILED
    shown = capsys.readouterr().out
    assert "ntfy: sent (HTTP 200)" in shown
    assert "webhook: failed (HTTP 403: no" in shown
    assert "\x1b" not in shown


def test_the_outcomes_are_shown_as_json(
    ways: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    ways += [NTFY]
    assert send_tests(as_json=True) == DONE
    assert json.loads(capsys.readouterr().out) == [NTFY]


def test_without_a_way_the_settings_are_named(
    ways: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert send_tests(as_json=False) == FAILED
    assert "NOTIFY__NTFY_TOPIC" in capsys.readouterr().err


def test_the_notices_are_listed_with_their_times(
    ways: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    show_notices(as_json=False)
    assert "There is no notice" in capsys.readouterr().err
    at = "2026-03-05T22:00:00+00:00"
    ways += [
        {"type": "alert", "title": "Claude fails", "text": "Most.\x1b[2J", "at": at},
        {"type": "notice", "kind": "done", "program": "Codex", "at": at},
    ]
    show_notices(as_json=False)
    shown = capsys.readouterr().out
    here = datetime.fromisoformat(at).astimezone().strftime("%Y-%m-%d %H:%M")
    assert f"{here}  Claude fails. Most." in shown
    assert f"{here}  Codex is done." in shown
    assert "\x1b" not in shown
    show_notices(as_json=True)
    assert json.loads(capsys.readouterr().out) == ways


def test_the_browsers_that_get_messages_are_listed(
    ways: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_browsers(as_json=False) == DONE
    assert "No browser has subscribed" in capsys.readouterr().err
    phone = {
        "id": "1",
        "token": "phone",
        "program": "x\x1b[2J",
        "service": "web.push.apple.com",
        "renewed_at": "2026-11-29T20:00:00+00:00",
    }
    ways += [phone]
    assert show_browsers(as_json=False) == DONE
    shown = capsys.readouterr()
    assert "phone\tx\\u001b[2J\tweb.push.apple.com\t2026-11-29T20:00" in shown.out
    assert "ccproxy token revoke" in shown.err
    assert show_browsers(as_json=True) == DONE
    assert json.loads(capsys.readouterr().out) == [phone]
