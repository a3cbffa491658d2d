"""Each route's credential is told by one rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.accounts.accounts import ClaudeAccount, CodexAccount
from shared.accounts.routes import RouteCredential, credentials_of_routes
from shared.settings.tree import Settings
from tests.support.logins import claude_content, codex_content, put


async def told(home: Path, **sections: dict[str, object]) -> dict[str, RouteCredential]:
    """Return the credential of each route of an owner whose home is `home`."""
    settings = Settings.model_validate(sections)
    environ = {"HOME": str(home)}
    found = await credentials_of_routes(
        settings, ClaudeAccount(settings.claude, environ), CodexAccount(settings.codex, environ)
    )
    return {each.route: each for each in found}


async def test_a_login_of_claude_code_pays_on_api_and_sdk(tmp_path: Path) -> None:
    login = put(tmp_path / ".claude/.credentials.json", claude_content())
    routes = await told(tmp_path)
    assert [routes[route].state.source for route in ("/api", "/sdk")] == [str(login)] * 2
    assert routes["/sdk"].state.billed_to == "subscription"


async def test_a_key_of_the_settings_pays_on_api_and_sdk_before_any_login(tmp_path: Path) -> None:
    put(tmp_path / ".claude/.credentials.json", claude_content())
    routes = await told(tmp_path, claude={"api_key": "sk-ant-x"})
    assert {routes[route].state.source for route in ("/api", "/sdk")} == {"CLAUDE__API_KEY"}
    assert routes["/api"].state.billed_to == "api_key"


async def test_a_login_file_of_another_name_pays_on_api_and_fails_sdk_with_the_remedy(
    tmp_path: Path,
) -> None:
    login = put(tmp_path / "mine.json", claude_content())
    routes = await told(tmp_path, claude={"credentials_file": str(login)})
    assert (routes["/api"].status, routes["/sdk"].status) == ("pass", "fail")
    assert f"rename {login}" in routes["/sdk"].state.output


async def test_a_missing_provider_is_no_fault_while_another_one_serves(tmp_path: Path) -> None:
    put(tmp_path / ".codex/auth.json", codex_content(3600))
    routes = await told(tmp_path)
    assert {route: each.status for route, each in routes.items()} == dict.fromkeys(
        ("/api", "/sdk", "/codex"), "pass"
    )
    assert "ccproxy auth login" in routes["/sdk"].state.output


async def test_without_any_credential_every_route_says_so(tmp_path: Path) -> None:
    assert {each.status for each in (await told(tmp_path)).values()} == {"warn"}


@pytest.mark.parametrize(
    ("sections", "routes"),
    [
        ({"sdk": {"workers": 0}}, ["/api", "/codex"]),
        ({"codex": {"enabled": False}}, ["/api", "/sdk"]),
    ],
)
async def test_a_route_that_is_switched_off_has_no_credential(
    tmp_path: Path, sections: dict[str, dict[str, object]], routes: list[str]
) -> None:
    assert list(await told(tmp_path, **sections)) == routes


SPARE = {"api_key": "sk-spare", "usd_per_day": 5}


async def test_a_key_for_used_up_windows_is_named_where_it_pays_and_where_it_does_not(
    tmp_path: Path,
) -> None:
    put(tmp_path / ".claude/.credentials.json", claude_content())
    put(tmp_path / ".codex/auth.json", codex_content())
    routes = await told(tmp_path, claude={"when_used_up": SPARE}, codex={"when_used_up": SPARE})
    assert routes["/api"].state.output.endswith(
        "; while a window is used up, CLAUDE__WHEN_USED_UP__API_KEY, at most $5.00 a day"
    )
    assert routes["/codex"].state.output.endswith(
        "CODEX__WHEN_USED_UP__API_KEY, at most $5.00 a day"
    )
    assert routes["/sdk"].state.output.endswith("; CLAUDE__WHEN_USED_UP does not pay here")
    assert routes["/api"].state.billed_to == "subscription"


async def test_a_key_for_used_up_windows_is_unused_beside_a_key_in_the_login(
    tmp_path: Path,
) -> None:
    put(tmp_path / ".codex/auth.json", {"OPENAI_API_KEY": "sk-own"})
    routes = await told(tmp_path, codex={"when_used_up": SPARE})
    assert "CODEX__WHEN_USED_UP__API_KEY is unused" in routes["/codex"].state.output


async def test_a_key_for_used_up_windows_stands_in_for_no_login(tmp_path: Path) -> None:
    routes = await told(tmp_path, claude={"when_used_up": SPARE})
    assert routes["/api"].state.source == ""
    assert "WHEN_USED_UP" not in routes["/api"].state.output
