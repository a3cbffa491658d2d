from __future__ import annotations

import pytest

from tests.support.simulator_fixture import chatgpt_token
from tests.unit.simulator.codex.conftest import Door, backend_body


async def test_a_program_without_a_name_meets_a_web_page(backend: Door) -> None:
    reply = await backend.post(backend_body(), headers={"originator": ""})
    assert reply.status_code == 403
    assert reply.text.startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"authorization": ""}, 401, "Unauthorized"),
        ({"authorization": "Bearer sk-proj-not-a-login"}, 401, "token_invalidated"),
        ({"authorization": f"Bearer {chatgpt_token(lasts=-1)}"}, 401, "token_expired"),
        ({"authorization": f"Bearer {chatgpt_token()}revoked"}, 401, "token_invalidated"),
        ({"chatgpt-account-id": "acct-other"}, 403, "does not belong"),
        ({"chatgpt-account-id": ""}, 403, "does not belong"),
    ],
)
async def test_a_login_must_be_alive_and_its_accounts(
    backend: Door, headers: dict[str, str], status: int, said: str
) -> None:
    reply = await backend.post(backend_body(), headers=headers)
    assert reply.status_code == status
    assert said in reply.text


@pytest.mark.parametrize("key", ["", "Bearer nonsense", "Bearer sk-revoked"])
async def test_the_public_door_takes_keys_only(public: Door, key: str) -> None:
    assert (await public.post({}, headers={"authorization": key})).status_code == 401


async def test_every_request_moves_the_windows(backend: Door) -> None:
    percents = []
    for _ in range(2):
        headers = (await backend.post(backend_body())).headers
        assert headers["x-codex-primary-window-minutes"] == "300"
        assert headers["x-codex-secondary-window-minutes"] == "10080"
        percents.append(float(headers["x-codex-primary-used-percent"]))
    assert percents == [0.5, 1.0]


async def test_a_free_plans_only_window_is_the_week(backend: Door) -> None:
    token = chatgpt_token("acct-free", "free")
    headers = {"authorization": f"Bearer {token}", "chatgpt-account-id": "acct-free"}
    reply = await backend.post(backend_body(), headers=headers)
    assert reply.headers["x-codex-primary-window-minutes"] == "10080"
    assert "x-codex-secondary-window-minutes" not in reply.headers


async def test_the_usage_page_says_what_the_headers_say(backend: Door) -> None:
    headers = (await backend.post(backend_body())).headers
    page = (await backend.client.get("/backend-api/wham/usage")).json()
    assert page["plan_type"] == headers["x-codex-plan-type"] == "plus"
    assert page["rate_limit"]["primary_window"]["used_percent"] == float(
        headers["x-codex-primary-used-percent"]
    )
