"""The addresses under /api."""

from __future__ import annotations

import pytest

from tests.unit.gateway.conftest import Start


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_each_address_goes_to_its_own_at_the_provider(
    start_gateway: Start, path: str
) -> None:
    running = await start_gateway()
    running.provider.scripts.append(lambda connection: connection.answer(b"{}"))
    assert (await running.post(f"/api{path}")).status_code == 200
    assert running.provider.received[0].head.startswith(f"POST {path} ".encode())


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/api/v1/messages", 405, "invalid_request_error"),
        ("POST", "/api/v2/messages", 404, "not_found_error"),
    ],
)
async def test_an_unknown_address_answers_in_anthropic_s_envelope(
    start_gateway: Start, method: str, path: str, status: int, kind: str
) -> None:
    running = await start_gateway()
    response = await running.client.request(method, path, json={})
    assert response.status_code == status
    assert response.json()["error"]["type"] == kind
    assert path in response.json()["error"]["message"]
