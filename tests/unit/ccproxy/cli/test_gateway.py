"""Refusals in the gateway's own words; a stack that is not there in one sentence."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from ccproxy.cli.gateway import NotRunning, Unanswered, checked, connection
from shared.settings.tree import load_settings


def answer(status: int, **content: object) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "http://localhost/usage"), **content)  # type: ignore[arg-type]


def test_a_refusal_keeps_the_gateways_words() -> None:
    with pytest.raises(Unanswered, match=r"/usage: switched off \(HTTP 404\)"):
        checked(answer(404, json={"error": {"type": "not_found", "message": "switched off"}}))


@pytest.mark.parametrize("content", [{"text": "<html>"}, {"json": []}, {"json": {"error": "x"}}])
def test_a_refusal_of_something_else_is_shown_as_it_is(content: dict[str, object]) -> None:
    with pytest.raises(Unanswered, match="HTTP 502"):
        checked(answer(502, **content))


def test_a_stack_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    settings = load_settings(server={"run_dir": str(tmp_path), "port": 1})
    with pytest.raises(NotRunning, match="ccproxy serve"), connection(settings) as client:
        client.get("/usage")


def test_a_missing_token_is_told_from_a_missing_login_of_a_provider() -> None:
    challenged = answer(401, json={}, headers={"www-authenticate": "Bearer"})
    with pytest.raises(Unanswered, match="wants a token"):
        checked(challenged)
    missing = {"error": {"message": "run `ccproxy auth login-openai`"}}
    with pytest.raises(Unanswered, match="auth login-openai"):
        checked(answer(401, json=missing))
