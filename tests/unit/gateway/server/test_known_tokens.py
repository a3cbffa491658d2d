"""The tokens of the settings, of the file of `ccproxy token`, and of the stack itself."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from gateway.server.guard import LOCAL_CALLER, UNKNOWN_CALLER, Caller, Guard
from gateway.server.known_tokens import EVERYTHING, KnownTokens, machine_key
from gateway.server.signed_in import make_cookie, read_cookie
from shared.accounts.tokens import STACK_TOKEN, StoredToken, TokenFile, token_digest
from shared.runtime.errors import NotAllowed, NotAuthorized
from shared.settings.security import SecuritySettings
from shared.settings.servers import ServerSettings

SECRET = "ccp_made-by-ccproxy-token"


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def keep(**facts: object) -> None:
    """Put a token into the owner's file."""
    made = StoredToken.model_validate({"name": "aider", "sha256": token_digest(SECRET)} | facts)
    with TokenFile(SecuritySettings().tokens_file).changing() as tokens:
        tokens.append(made)


def admit(
    path: str = "/api/v1/messages", secret: str = SECRET, token: str | None = "owner-token"
) -> Caller:
    guard = Guard(ServerSettings(), SecuritySettings.model_validate({"auth_token": token}))
    headers = {b"host": b"localhost:8000", b"content-type": b"application/json"}
    return guard.admit("POST", path, headers | {b"x-api-key": secret.encode()})


def test_a_stored_token_admits_its_name_and_its_scopes() -> None:
    keep(scopes=["use", "agent"])
    assert admit() == Caller("aider", frozenset({"use", "agent"}), digest=token_digest(SECRET))


def test_a_token_that_was_revoked_admits_nobody() -> None:
    keep()
    with TokenFile(SecuritySettings().tokens_file).changing() as tokens:
        tokens.clear()
    with pytest.raises(NotAuthorized):
        admit()


def test_an_expired_token_is_refused_with_the_remedy() -> None:
    keep(expires_at=86_400.0)
    with pytest.raises(NotAuthorized) as refused:
        admit()
    assert refused.value.message == (
        "The token 'aider' expired at 1970-01-02 00:00 UTC; `ccproxy token rotate aider` makes a "
        "new one."
    )
    assert refused.value.headers == {"www-authenticate": "Bearer"}
    assert admit("/health") == UNKNOWN_CALLER


def test_an_expired_token_is_refused_also_where_none_is_required() -> None:
    keep(expires_at=1.0)
    with pytest.raises(NotAuthorized, match="expired"):
        admit(token=None)


def test_a_route_that_is_not_listed_is_refused_by_name() -> None:
    keep(scopes=["use", "agent"], routes=["api", "codex"])
    assert admit("/codex/v1/responses").name == "aider"
    with pytest.raises(NotAllowed, match=r"may not use /sdk; it may use /api, /codex"):
        admit("/sdk/v1/messages")


def test_the_models_of_a_token_go_with_its_caller_and_forbid_batches() -> None:
    keep(models=["claude-haiku-*"])
    assert admit().models == ("claude-haiku-*",)
    with pytest.raises(NotAllowed, match="may not make batches"):
        admit("/api/v1/messages/batches")


def test_a_token_with_limits_may_not_make_a_batch_but_see_its_own() -> None:
    keep(limits=[{"amount": 5, "unit": "usd", "per": "day"}])
    assert str(*admit().limits) == "$5.00/day"
    with pytest.raises(NotAllowed, match="has limits and may not make batches"):
        admit("/api/v1/messages/batches")
    assert admit("/api/v1/messages/batches/msgbatch_1/cancel").name == "aider"


CONFIGURED = {
    "name": "chatbot",
    "token": "chatbots-own-token",
    "limits": ["$5/day", "20%/5h"],
    "at_once": 2,
}


def test_a_token_of_the_settings_has_its_limits() -> None:
    security = SecuritySettings.model_validate(
        {"auth_token": "owner-token", "tokens": [CONFIGURED]}
    )
    tokens = KnownTokens(security, {})
    [limited] = tokens.limited()
    assert (limited.name, [str(limit) for limit in limited.limits], limited.at_once) == (
        "chatbot",
        ["$5.00/day", "20%/5h"],
        2,
    )
    assert tokens.has_shares
    found = tokens.find([b"chatbots-own-token"])
    assert found is not None
    assert found.limits == limited.limits
    headers = {b"host": b"localhost:8000", b"x-api-key": b"chatbots-own-token"}
    caller = Guard(ServerSettings(), security).admit("GET", "/api/v1/models", headers)
    assert (caller.limits, caller.at_once) == (limited.limits, 2)


def test_the_limits_of_the_settings_survive_the_snapshot_of_the_launcher() -> None:
    before = SecuritySettings.model_validate({"tokens": [CONFIGURED | {"limits": ["$0.001/day"]}]})
    written = before.model_dump(mode="json")
    written["tokens"][0]["token"] = CONFIGURED["token"]
    assert SecuritySettings.model_validate(written) == before


def test_without_a_required_token_a_stored_one_names_and_limits_its_requests() -> None:
    keep(routes=["api"])
    assert admit(token=None).name == "aider"
    assert admit(secret="anything", token=None) == LOCAL_CALLER
    with pytest.raises(NotAllowed):
        admit("/codex/v1/responses", token=None)


def test_the_stack_s_own_token_is_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STACK_TOKEN, token_digest("of-this-run"))
    security = SecuritySettings.model_validate({"auth_token": "owner-token"})
    tokens = KnownTokens(security, {STACK_TOKEN: token_digest("of-this-run")})
    found = tokens.find([b"of-this-run"])
    assert found is not None
    assert (found.name, found.scopes) == ("owner", EVERYTHING)
    assert tokens.find([token_digest("of-this-run").encode()]) is None
    assert read_cookie(make_cookie(found), tokens.all()) is None
    assert KnownTokens(security, {}).find([b""]) is None


def test_a_browser_signs_in_with_a_stored_token_and_a_copy_of_the_hashes_does_not(
    tmp_path: Path,
) -> None:
    keep(scopes=["admin"])
    here = KnownTokens(SecuritySettings(), {}, tmp_path / "here.key")
    again = KnownTokens(SecuritySettings(), {}, tmp_path / "here.key")
    elsewhere = KnownTokens(SecuritySettings(), {}, tmp_path / "elsewhere.key")
    token = here.find([SECRET.encode()])
    assert token is not None
    cookie = make_cookie(token)
    assert read_cookie(cookie, again.all()) == token
    assert read_cookie(cookie, elsewhere.all()) is None


def test_an_expired_token_ends_its_cookies(tmp_path: Path) -> None:
    keep(expires_at=time.time() + 60)
    tokens = KnownTokens(SecuritySettings(), {})
    token = tokens.find([SECRET.encode()])
    assert token is not None
    assert read_cookie(make_cookie(token), tokens.all(), time.time() + 61) is None


def test_the_first_gateway_makes_the_key_and_the_others_read_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "cookie.key"
    key = machine_key(path)
    assert machine_key(path) == key == path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_key_that_cannot_be_kept_holds_for_this_process(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert len(machine_key(tmp_path / "file" / "cookie.key")) == 32


def test_a_token_is_valid_until_it_is_revoked_or_has_expired() -> None:
    keep()
    keep(name="over", sha256=token_digest("over"), expires_at=86_400.0)
    known = KnownTokens(SecuritySettings.model_validate({"auth_token": "owner-token"}))
    assert known.is_valid("")  # a request without a token
    assert known.is_valid(token_digest("owner-token"))
    assert known.is_valid(token_digest(SECRET))
    assert not known.is_valid(token_digest("over"))
    assert not known.is_valid(token_digest("never made"))


def test_the_wishes_of_a_token_reach_its_requests() -> None:
    keep(hold="30m", priority="background")
    caller = admit()
    assert (caller.hold, caller.priority) == (1800, "background")
