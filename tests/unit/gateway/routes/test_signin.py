"""Signing in and out with a form, as a browser does it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from gateway.routes.signin import WRONG_FORMS, safe_target
from tests.unit.gateway.conftest import Running, Start

OWNER = "owner-secret-token"
PHONE = {"name": "phone", "token": "phone-secret-token", "scopes": ["approve"]}
OURS = {"sec-fetch-site": "same-origin"}
HTML = {"accept": "text/html"}


async def start(start_gateway: Start, **more: Any) -> Running:
    return await start_gateway(security={"auth_token": OWNER, "tokens": [PHONE]}, **more)


async def sign_in(
    running: Running, token: str = OWNER, target: str = "/dashboard", **headers: str
) -> httpx.Response:
    form = {"token": token, "next": target}
    return await running.client.post("/signin", data=form, headers=OURS | headers)


async def test_a_browser_without_a_token_is_led_to_the_form_and_back(start_gateway: Start) -> None:
    running = await start(start_gateway)
    led = await running.client.get("/permissions/ui?a=b", headers=HTML)
    assert (led.status_code, led.headers["location"]) == (
        303,
        "/signin?next=%2Fpermissions%2Fui%3Fa%3Db",
    )
    form = await running.client.get(led.headers["location"])
    assert form.status_code == 200
    assert 'value="/permissions/ui?a=b"' in form.text
    back = await sign_in(running, target="/permissions/ui?a=b")
    assert (back.status_code, back.headers["location"]) == (303, "/permissions/ui?a=b")
    assert (await running.client.get("/permissions/ui", headers=HTML)).status_code == 200
    again = await running.client.get("/signin?next=/docs")
    assert (again.status_code, again.headers["location"]) == (303, "/docs")


async def test_a_program_without_a_token_is_told_what_to_send(start_gateway: Start) -> None:
    running = await start(start_gateway)
    for path, headers in (("/dashboard", {}), ("/api/v1/models", HTML)):
        refused = await running.client.get(path, headers=headers)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"


async def test_a_link_on_another_site_asks_again_so_that_the_cookie_comes_along(
    start_gateway: Start,
) -> None:
    running = await start(start_gateway)
    link = HTML | {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    shown = await running.client.get("/permissions/ui?x=%22%3E", headers=link)
    assert shown.status_code == 200
    assert 'content="0; url=/permissions/ui?x=%22%3E"' in shown.text


async def test_the_cookie_serves_pages_and_what_they_use_but_no_model(start_gateway: Start) -> None:
    running = await start(start_gateway)
    await sign_in(running)
    for path in ("/dashboard", "/docs", "/openapi.json", "/metrics"):
        assert (await running.client.get(path)).status_code == 200, path
    for path in ("/api/v1/messages", "/sdk/v1/messages", "/codex/responses", "/mcp"):
        refused = await running.client.post(path, json={}, headers=OURS)
        assert refused.status_code == 401, path


@pytest.mark.parametrize(
    "headers", [{}, {"sec-fetch-site": "none"}, {"sec-fetch-site": "same-site"}]
)
async def test_a_change_by_cookie_comes_from_our_own_page(
    start_gateway: Start, headers: dict[str, str]
) -> None:
    running = await start(start_gateway)
    await sign_in(running)
    body = {"confirm": "forget every record"}
    assert (await running.client.post("/logs/reset", json=body, headers=headers)).status_code == 403
    assert (
        await running.client.post("/logs/reset", json=body, headers=OURS)
    ).status_code == 503  # the bus is away
    origin = {"origin": f"http://127.0.0.1:{running.port}"}
    assert (await running.client.post("/logs/reset", json=body, headers=origin)).status_code == 503


async def test_a_wrong_token_is_told_and_slowed(start_gateway: Start) -> None:
    running = await start(start_gateway)
    for _ in range(WRONG_FORMS):
        wrong = await sign_in(running, "wrong")
        assert wrong.status_code == 401
        assert "not known here" in wrong.text
        assert "set-cookie" not in wrong.headers
    slowed = await sign_in(running)
    assert slowed.status_code == 429
    assert int(slowed.headers["retry-after"]) > 0
    assert "Too many wrong tokens" in slowed.text


async def test_a_token_of_too_small_a_scope_is_told_so(start_gateway: Start) -> None:
    running = await start(start_gateway)
    refused = await sign_in(running, str(PHONE["token"]), "/dashboard")
    assert refused.status_code == 403
    assert "lacks the scope “admin”" in refused.text
    assert (await sign_in(running, str(PHONE["token"]), "/permissions/ui")).status_code == 303
    assert (await running.client.get("/dashboard")).status_code == 403


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}]
)
async def test_a_form_on_another_site_signs_nobody_in_or_out(
    start_gateway: Start, headers: dict[str, str]
) -> None:
    running = await start(start_gateway)
    for path in ("/signin", "/signout"):
        refused = await running.client.post(path, data={"token": OWNER}, headers=headers)
        assert refused.status_code == 403
        assert "set-cookie" not in refused.headers


async def test_signing_out_forgets_the_cookie(start_gateway: Start) -> None:
    running = await start(start_gateway)
    await sign_in(running)
    page = await running.client.get("/dashboard")
    assert 'action="/signout"' in page.text
    out = await running.client.post("/signout", headers=OURS)
    assert (out.status_code, out.headers["location"]) == (303, "/signin")
    assert (await running.client.get("/dashboard")).status_code == 401


async def test_behind_tls_the_cookie_is_secure(start_gateway: Start) -> None:
    running = await start(start_gateway)
    inside = await sign_in(running, **{"x-forwarded-proto": "https"})
    assert inside.headers["set-cookie"].endswith("; Secure")
    await running.client.aclose()
    other = await start(start_gateway, server={"trusted_proxies": ["10.0.0.1"]})
    assert (
        "Secure"
        not in (await sign_in(other, **{"x-forwarded-proto": "https"})).headers["set-cookie"]
    )


async def test_without_any_token_there_is_nothing_to_sign_in_to(start_gateway: Start) -> None:
    running = await start_gateway()
    led = await running.client.get("/signin")
    assert (led.status_code, led.headers["location"]) == (303, "/dashboard")
    assert "sign-out" not in (await running.client.get("/dashboard")).text.replace(
        "<!--sign-out-->", ""
    )


@pytest.mark.parametrize("size", [20_000])
async def test_a_large_form_is_refused(start_gateway: Start, size: int) -> None:
    assert (await sign_in(await start(start_gateway), "x" * size)).status_code == 413


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        ("/permissions/ui?x=1", "/permissions/ui?x=1"),
        ("", "/dashboard"),
        ("https://evil.example", "/dashboard"),
        ("//evil.example/dashboard", "/dashboard"),
        ("/\\evil.example", "/dashboard"),
        ("/dashboard\r\nset-cookie: a=b", "/dashboard"),
        ("/dashboard/é", "/dashboard"),
        ("/api/v1/models", "/dashboard"),
        ("javascript:alert(1)", "/dashboard"),
    ],
)
def test_the_form_leads_to_our_own_pages_only(asked: str, target: str) -> None:
    assert safe_target(asked) == target
