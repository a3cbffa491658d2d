"""`ccproxy hook`: the gateway's decision on the standard output, and no decision for every failure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ccproxy.cli.agent_hooks import HookAccess
from ccproxy.cli.hook import run_hook
from ccproxy.cli.hook_access import access_file, write_access
from tests.support.loopback import LoopbackHandler, serving, url_of

HOOK = {
    "hook_event_name": "PermissionRequest",
    "session_id": "s",
    "turn_id": "t",
    "tool_name": "Read",
}
ALLOW = {"hookSpecificOutput": {"decision": {"behavior": "allow"}}}


@dataclass
class Gateway:
    """A gateway that answers with `status` and `answer`, and keeps what arrived."""

    url: str = ""
    status: int = 200
    answer: bytes = b"\n\n" + json.dumps(ALLOW).encode()
    received: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)


@pytest.fixture
def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    gateway = Gateway()

    class Handler(LoopbackHandler):
        def do_POST(self) -> None:
            body = json.loads(self.body())
            headers = {name.lower(): value for name, value in self.headers.items()}
            gateway.received.append((self.path, headers, body))
            self.send_response(gateway.status)
            self.end_headers()
            self.wfile.write(gateway.answer)

    with serving(Handler) as server:
        gateway.url = url_of(server)
        write_access("codex", HookAccess(gateway.url, "secret", "laptop"))
        yield gateway


def answer_to(body: Any, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    assert run_hook("codex", text) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_a_decision_of_the_gateway_is_passed_on(
    gateway: Gateway, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to("/etc")
    body = HOOK | {"tool_input": {"file_path": str(link / "x")}, "cwd": str(tmp_path)}
    assert answer_to(body, capsys) == ALLOW
    ((path, headers, sent),) = gateway.received
    assert path == "/hooks/permission-request"
    assert headers["x-api-key"] == "secret"
    assert (headers["x-ccproxy-machine"], headers["x-ccproxy-agent"]) == ("laptop", "codex")
    assert sent == body | {"ccproxy": {"links": {str(link / "x"): "/etc/x"}}}


def test_news_go_to_their_own_address_and_say_nothing(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.answer = b"{}"
    assert answer_to({"hook_event_name": "Stop"}, capsys) == {}
    assert gateway.received[0][0] == "/hooks/notice"
    gateway.status = 503
    assert answer_to({"hook_event_name": "Stop"}, capsys) == {}


@pytest.mark.parametrize(
    ("status", "answer", "words"),
    [
        (401, b'{"error": {"message": "no such token"}}', "no such token (HTTP 401)"),
        (200, b"<html>", "Expecting value"),
        (200, b"", "Expecting value"),
        (502, b"[]", "not one of ccproxy"),
    ],
)
def test_a_refusal_is_no_decision_and_is_told(
    gateway: Gateway,
    capsys: pytest.CaptureFixture[str],
    status: int,
    answer: bytes,
    words: str,
) -> None:
    gateway.status, gateway.answer = status, answer
    told = answer_to(HOOK, capsys)
    assert list(told) == ["systemMessage"]
    assert words in told["systemMessage"]


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize("text", ["", "{", "[]", "5"])
def test_an_input_that_is_no_hook_is_no_decision(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    assert list(answer_to(text, capsys)) == ["systemMessage"]


def test_a_gateway_that_is_not_there_is_no_decision(
    gateway: Gateway, capsys: pytest.CaptureFixture[str]
) -> None:
    write_access("codex", HookAccess("http://127.0.0.1:1", "", "laptop"))
    assert "http://127.0.0.1:1" in answer_to(HOOK, capsys)["systemMessage"]
    access_file("codex").unlink()
    assert "hooks install codex" in answer_to(HOOK, capsys)["systemMessage"]
