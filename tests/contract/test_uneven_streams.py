"""Providers whose bytes come in odd pieces, too slowly, or with malformed JSON: every client gets the
reply, pings while the reply is not there, or an error in its own format.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.conftest import OpenGateway
from tests.contract.test_streams_of_providers import ROUTES
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import GroundTruth

# Pieces of at most five bytes, with pauses far shorter than PING_SECONDS between them: the first
# event takes seconds.
DRIPPING = "uneven-30x5"
PING_SECONDS = 0.15
IDLE_SECONDS = 0.2
MESSAGES_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
COMMENT = b": keep-alive\n\n"
CLAUDE_ROUTES = [route for route in ROUTES if route[1] == "claude"]


def client_of(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, trust_env=False, timeout=20, verify=False)


def asked(route: tuple[str, str, dict[str, Any]], scenario: str, *, stream: bool) -> dict[str, Any]:
    _, maker, body = route
    return body | {"model": f"{maker}-sim-{scenario}", "stream": stream}


def ping_of(path: str) -> bytes:
    return MESSAGES_PING if path.endswith("/v1/messages") else COMMENT


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route[0])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_reply_in_odd_pieces_reaches_every_client_whole(
    open_gateway_at: OpenGateway,
    simulator: GroundTruth,
    tmp_path: Path,
    route: tuple[str, str, dict[str, Any]],
    stream: bool,
) -> None:
    url = await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))
    async with client_of(url) as http:
        reply = await http.post(route[0], json=asked(route, "uneven-3x90", stream=stream))
    assert reply.status_code == 200, reply.text
    assert "hello" in reply.text
    assert '"error":{' not in reply.text.replace(" ", "")


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route[0])
async def test_a_client_gets_pings_while_the_provider_drips_half_an_event(
    open_gateway_at: OpenGateway,
    simulator: GroundTruth,
    tmp_path: Path,
    route: tuple[str, str, dict[str, Any]],
) -> None:
    url = await open_gateway_at(
        server={"ping_interval_seconds": PING_SECONDS},
        codex=codex_settings(simulator.url, tmp_path),
    )
    ping = ping_of(route[0])
    received = b""
    async with (
        client_of(url) as http,
        http.stream("POST", route[0], json=asked(route, DRIPPING, stream=True)) as reply,
    ):
        assert reply.status_code == 200
        async for chunk in reply.aiter_raw():
            received += chunk
            if received.count(ping) == 2:
                break
    assert received.count(ping) == 2
    # No event of the reply itself was complete by then.
    assert b"hello" not in received
    assert b"message_start" not in received
    assert b"response.created" not in received


async def test_the_events_of_a_reply_follow_the_pings_that_came_first(
    open_gateway_at: OpenGateway, simulator: GroundTruth
) -> None:
    url = await open_gateway_at(server={"ping_interval_seconds": 0.05})
    route = ("/api/v1/chat/completions", "claude", ROUTES[1][2])
    async with client_of(url) as http:
        reply = await http.post(route[0], json=asked(route, "uneven-30x90", stream=True))
    assert reply.content.startswith(COMMENT)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert "hello" in reply.text
    assert reply.content.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("route", CLAUDE_ROUTES, ids=lambda route: route[0])
async def test_a_stream_without_a_whole_event_ends_at_the_first_byte_limit(
    open_gateway_at: OpenGateway, simulator: GroundTruth, route: tuple[str, str, dict[str, Any]]
) -> None:
    url = await open_gateway_at(
        server={"ping_interval_seconds": PING_SECONDS, "first_byte_timeout_seconds": 0.5}
    )
    async with client_of(url) as http:
        reply = await http.post(route[0], json=asked(route, DRIPPING, stream=True))
    # The pings have taken the head along, so the error is the last event.
    assert reply.status_code == 200
    assert reply.content.startswith(ping_of(route[0]))
    assert "The provider has sent no whole event for" in reply.text
    await simulator.until(lambda requests: requests[-1].cancelled)


@pytest.mark.parametrize("path", ["/api/v1/chat/completions", "/api/v1/responses"])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_translated_reply_without_a_whole_event_is_a_504_while_no_ping_was_due(
    open_gateway_at: OpenGateway, simulator: GroundTruth, path: str, stream: bool
) -> None:
    url = await open_gateway_at(server={"first_byte_timeout_seconds": 0.4})
    [route] = [route for route in CLAUDE_ROUTES if route[0] == path]
    async with client_of(url) as http:
        reply = await http.post(path, json=asked(route, DRIPPING, stream=stream))
    assert reply.status_code == 504
    assert "The provider has sent no whole event for" in reply.json()["error"]["message"]


@pytest.mark.parametrize("alias", [False, True])
async def test_a_whole_reply_that_flows_longer_than_the_idle_limit_is_not_idle(
    open_gateway_at: OpenGateway, simulator: GroundTruth, alias: bool
) -> None:
    model = "claude-sim-uneven-60x40"
    url = await open_gateway_at(
        server={"idle_timeout_seconds": IDLE_SECONDS}, models={"aliases": {"mine": model}}
    )
    body = ROUTES[0][2] | {"model": "mine" if alias else model}
    async with client_of(url) as http:
        reply = await http.post("/api/v1/messages", json=body)
    assert reply.status_code == 200, reply.text
    assert "hello" in reply.text
    milliseconds = await simulator.until(lambda requests: requests[-1].ended_after_ms)
    assert milliseconds > 2 * IDLE_SECONDS * 1000


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route[0])
async def test_malformed_json_in_a_stream_passes_unchanged_or_ends_in_an_error(
    open_gateway_at: OpenGateway,
    simulator: GroundTruth,
    tmp_path: Path,
    route: tuple[str, str, dict[str, Any]],
) -> None:
    path = route[0]
    url = await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))
    async with client_of(url) as http:
        reply = await http.post(path, json=asked(route, "malformed", stream=True))
        whole = await http.post(path, json=asked(route, "malformed", stream=False))
    if path == "/api/v1/messages":
        passed, half = simulator.requests("/v1/messages")
        assert (reply.status_code, whole.status_code) == (200, 200)
        assert (reply.content, whole.content) == (passed.sent, half.sent)
    elif path == "/codex/v1/responses":
        # The last event of the stream still has the whole response.
        assert '"type":"response.completed"' in reply.text.replace(" ", "")
        assert whole.json()["status"] == "completed"
    else:
        # The failure has its own status while no byte was sent, else it is the last event.
        assert reply.status_code in {200, 502}
        assert '"error"' in reply.text
        for end in ("[DONE]", "message_stop", "response.completed"):
            assert end not in reply.text
        assert whole.status_code == 502
        assert "error" in whole.json()
