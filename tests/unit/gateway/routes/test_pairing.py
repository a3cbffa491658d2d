"""The page of a pairing link, without Redis: nothing opens, and the reason is said."""

from __future__ import annotations

from gateway.routes.pairing import pair_page
from tests.unit.gateway.conftest import Start

OURS = {"sec-fetch-site": "same-origin"}
PHONE = {"name": "phone", "token": "phone-secret-token", "scopes": ["approve"]}


async def test_without_redis_the_link_can_be_tried_again(start_gateway: Start) -> None:
    running = await start_gateway(security={"auth_token": "owner-secret-token"})
    answer = await running.client.post("/pair", data={"secret": "abc"}, headers=OURS)
    assert answer.status_code == 503
    assert 'value="abc"' in answer.text
    assert "Try again." in answer.text
    assert "set-cookie" not in answer.headers


async def test_only_a_token_in_a_header_makes_a_pairing(start_gateway: Start) -> None:
    running = await start_gateway(security={"auth_token": "owner-secret-token"})
    refused = await running.client.post("/permissions/pairings", json={})
    assert refused.status_code == 401
    open_to_all = await start_gateway()
    nobody = await open_to_all.client.post("/permissions/pairings", json={})
    assert nobody.status_code == 400
    assert "needs the token of a phone" in nobody.text


async def test_a_page_of_another_origin_cannot_redeem(start_gateway: Start) -> None:
    running = await start_gateway(security={"auth_token": "owner-secret-token", "tokens": [PHONE]})
    for headers in ({}, {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
        answer = await running.client.post("/pair", data={"secret": "abc"}, headers=headers)
        assert answer.status_code == 403, headers


def test_text_from_outside_is_escaped_in_the_page() -> None:
    page = bytes(pair_page("a < b", '"><script>').body).decode()
    assert "<script>" not in page.replace('<script type="module"', "")
    assert "a &lt; b" in page
