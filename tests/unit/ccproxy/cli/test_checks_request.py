"""The request of `ccproxy doctor --send`, at a gateway that answers as told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ccproxy.cli.checks_request import send_request
from ccproxy.cli.found_stack import FoundStack
from tests.support.loopback import LoopbackHandler, serving, url_of


class Gateway(LoopbackHandler):
    """A gateway with a credential for /codex alone."""

    status = 200
    reply: object = None

    def do_GET(self) -> None:
        checks = {"credentials": [{"route": "/api", "status": "fail", "output": "none"}]}
        checks["codex"] = [{"route": "/codex", "status": "pass", "output": "a login"}]
        health = {"status": "warn", "version": "1", "checks": checks}
        listed = {"data": [{"id": "gpt-5.5"}]}
        self.answer(200, health if self.path == "/health" else listed)

    def do_POST(self) -> None:
        self.body()
        status = self.status if self.path == "/codex/v1/messages" else 500
        self.answer(status, self.reply, x_ccproxy_billed_to="api_key")


@pytest.fixture
def stack() -> Iterator[FoundStack]:
    with serving(Gateway) as server:
        yield FoundStack(url_of(server), "", "settings")


def test_the_reply_is_told_with_its_payer(
    stack: FoundStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gateway, "reply", {"content": [{"type": "text", "text": "ready"}]})
    finding = send_request(stack)
    assert finding.status == "pass"
    assert finding.says.startswith("/codex/v1/messages: gpt-5.5 said 'ready' after ")
    assert finding.says.endswith("paid by api key")


@pytest.mark.parametrize(
    ("status", "reply", "says"),
    [
        (429, {"error": {"message": "Too much."}}, "Too much. (HTTP 429)"),
        (200, {"odd": 1}, "The reply is no message"),
    ],
)
def test_a_refusal_is_a_problem_in_its_own_words(
    stack: FoundStack,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    reply: object,
    says: str,
) -> None:
    monkeypatch.setattr(Gateway, "status", status)
    monkeypatch.setattr(Gateway, "reply", reply)
    finding = send_request(stack)
    assert finding.status == "fail"
    assert says in finding.says
