"""The addresses under /codex."""

from __future__ import annotations

import pytest

from gateway.routes.codex import as_listed
from tests.unit.gateway.conftest import Start


def test_an_entry_tells_what_the_backend_told_and_our_guess_for_the_rest() -> None:
    levels = [{"effort": "low"}, {"effort": "high"}]
    entry = as_listed(
        {"slug": "gpt-x", "context_window": 7, "supported_reasoning_levels": levels}, 8192
    )
    assert (entry["id"], entry["display_name"], entry["context_window"]) == ("gpt-x", "gpt-x", 7)
    assert (entry["max_output_tokens"], entry["reasoning_efforts"]) == (8192, ["low", "high"])
    assert as_listed({"slug": "gpt-x", "max_output_tokens": 5}, 8192)["max_output_tokens"] == 5


async def test_it_can_be_switched_off(start_gateway: Start) -> None:
    running = await start_gateway(codex={"enabled": False})
    for method, path in (
        ("POST", "/codex/responses"),
        ("POST", "/codex/x/responses"),
        ("GET", "/codex/models"),
    ):
        assert (await running.client.request(method, path, json={})).status_code == 404


async def test_an_upgrade_is_refused_at_once(start_gateway: Start) -> None:
    running = await start_gateway()
    headers = {"connection": "Upgrade", "upgrade": "websocket"}
    for path in ("/codex/responses", "/codex/my-session/responses"):
        assert (await running.client.get(path, headers=headers)).status_code == 426
        assert (await running.client.get(path)).status_code == 405


@pytest.mark.parametrize("path", ["/codex/messages", "/codex/messages/count_tokens"])
async def test_messages_are_answered_without_v1_too(start_gateway: Start, path: str) -> None:
    running = await start_gateway()
    assert (await running.client.get(path)).status_code == 405
    refused = await running.post(path, json={})
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert refused.json()["error"]["message"].startswith("model: ")
