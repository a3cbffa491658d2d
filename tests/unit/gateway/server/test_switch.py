"""Proxy routes by exact path, then by pattern; every other request goes to the management app."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.server.access_log import open_record
from gateway.server.addresses import Addresses
from gateway.server.asgi import ASGIApp, Message, Receive, Scope, Send
from gateway.server.context import KEY, RequestContext
from gateway.server.switch import Switch, allow, endpoint_pattern
from gateway.server.tracing import UNTRACED
from shared.runtime.errors import UpgradeRefused
from tests.unit.gateway.conftest import idle_ledger

SERVED = {"/api/v1/messages": {"POST"}, "/health": {"GET"}}


class Served:
    """A switch with two proxy routes, and a list of what was called with which method."""

    def __init__(self) -> None:
        self.called: list[tuple[str, str]] = []
        self.sent: list[Message] = []
        endpoints = {
            path: self._endpoint(path)
            for path in ("/api/v1/messages", "/sdk/{session_id}/v1/messages")
        }
        self._switch = Switch(endpoints, self._endpoint("management"), Addresses(SERVED))

    def _endpoint(self, name: str) -> ASGIApp:
        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            self.called.append((name, scope["method"]))
            scope["route"] = name

        return answer

    async def ask(self, method: str, path: str, **headers: str) -> dict[str, Any]:
        lines = [(name.encode(), text.encode()) for name, text in headers.items()]
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": lines,
            "client": ("127.0.0.1", 1),
        }
        record = open_record(scope, dict(lines))
        scope[KEY] = RequestContext(record, dict(lines), UNTRACED, lambda _: None, idle_ledger())

        async def receive() -> Message:
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            self.sent.append(message)

        await self._switch(scope, receive, send)
        return scope


async def test_an_exact_path_reaches_its_endpoint_and_stands_in_the_context() -> None:
    served = Served()
    scope = await served.ask("POST", "/api/v1/messages")
    assert served.called == [("/api/v1/messages", "POST")]
    assert scope[KEY].endpoint == "/api/v1/messages"


async def test_a_path_with_a_session_reaches_the_endpoint_of_its_pattern() -> None:
    served = Served()
    scope = await served.ask("POST", "/sdk/my session/v1/messages")
    assert served.called == [("/sdk/{session_id}/v1/messages", "POST")]
    assert scope[KEY].endpoint == "/sdk/{session_id}/v1/messages"
    assert scope["path_params"] == {"session_id": "my session"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/health"), ("POST", "/sdk//v1/messages"), ("GET", "/api/v1/messages")],
)
async def test_every_other_request_reaches_the_management_app(method: str, path: str) -> None:
    served = Served()
    scope = await served.ask(method, path)
    assert served.called == [("management", method)]
    assert scope[KEY].endpoint == ""


async def test_head_reaches_the_management_app_as_get_and_keeps_its_route() -> None:
    served = Served()
    scope = await served.ask("HEAD", "/health")
    assert served.called == [("management", "GET")]
    assert (scope["method"], scope["route"]) == ("HEAD", "management")


async def test_options_are_answered_with_the_methods_of_the_address() -> None:
    served = Served()
    await served.ask("OPTIONS", "/health")
    assert served.called == []
    assert served.sent[0]["status"] == 204
    assert (b"allow", b"GET, HEAD, OPTIONS") in served.sent[0]["headers"]


async def test_options_of_a_missing_address_reach_the_management_app() -> None:
    served = Served()
    await served.ask("OPTIONS", "/nowhere")
    assert served.called == [("management", "OPTIONS")]


async def test_a_websocket_to_a_proxy_route_is_refused_as_an_upgrade() -> None:
    served = Served()
    with pytest.raises(UpgradeRefused):
        await served.ask("GET", "/api/v1/messages", upgrade="WebSocket")
    assert served.called == []


def test_a_pattern_takes_an_id_of_id_characters_only() -> None:
    pattern = endpoint_pattern("/codex/v1/responses/{response_id}")
    assert pattern.fullmatch("/codex/v1/responses/resp_1-a")
    assert not pattern.fullmatch("/codex/v1/responses/resp_1/input")
    assert not pattern.fullmatch("/codex/v1/responses/" + "r" * 129)


def test_allowed_methods_are_named_in_order() -> None:
    assert allow({"POST", "GET"}) == "GET, POST"
