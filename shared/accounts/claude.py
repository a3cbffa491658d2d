"""The credentials of the owner for Claude, in the order of the search. The first that serves is
used and named in `/health`:

CLAUDE__API_KEY, CLAUDE_CODE_OAUTH_TOKEN (of `claude setup-token`; also CLAUDE__OAUTH_TOKEN), Claude
Code's login files (CLAUDE__CREDENTIALS_FILE alone when set; else in $CLAUDE_CONFIG_DIR or
~/.claude, ~/.config/claude), and on macOS Claude Code's keychain item. The same order holds for
`/api` and for the programs of `/sdk` (`sdk_worker/claude/launch.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from shared.accounts.login import Authorization, Login, account_digest
from shared.accounts.oauth import (
    AccountPages,
    AskTokenServer,
    PendingLogin,
    part,
    seconds,
    text_field,
)
from shared.accounts.store import CredentialFile
from shared.settings.providers import ClaudeSettings

LOGIN_FILE = ".credentials.json"  # the only name that Claude Code knows
OAUTH_BETA = "oauth-2025-04-20"  # without it the service answers 401 to a login's token
# What Claude Code asks for when it renews: the login is shared with it, so less would take features
# from it.
SCOPES = (
    "user:profile user:inference user:sessions:claude_code user:mcp_servers user:file_upload "
    "user:plugins"
)


class ClaudeIssuer:
    """Claude's login servers and Claude Code's `.credentials.json`."""

    name = "claude"
    title = "Claude"
    redirect = ("localhost", 0, "/callback")
    manual_redirect = "https://platform.claude.com/oauth/code/callback"
    fix = "run `ccproxy auth login`"
    instead = "set CLAUDE_CODE_OAUTH_TOKEN (`claude setup-token` makes one) or CLAUDE__API_KEY"
    indent: int | None = None

    def __init__(self, settings: ClaudeSettings, environ: Mapping[str, str] = os.environ) -> None:
        self.token_url = settings.oauth.token_url
        self.files = login_files(settings, environ)
        self._authorize_url = settings.oauth.authorize_url
        self._client_id = settings.oauth.client_id
        self._base_url = settings.base_url.rstrip("/")

    def authorize_url(self, pending: PendingLogin) -> str:
        query = {
            "code": "true",
            "client_id": self._client_id,
            "response_type": "code",
            "redirect_uri": pending.redirect_uri,
            "scope": SCOPES,
            "code_challenge": pending.challenge,
            "code_challenge_method": "S256",
            "state": pending.state,
        }
        return f"{self._authorize_url}?{urlencode(query)}"

    def ask_exchange(self, pending: PendingLogin, code: str) -> AskTokenServer:
        """Return the request for the exchange of `code`: JSON with the state, both required by this
        server (measured).
        """
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": pending.redirect_uri,
            "client_id": self._client_id,
            "code_verifier": pending.verifier,
            "state": pending.state,
        }
        return AskTokenServer(fields, as_json=True)

    def ask_refresh(self, login: Login) -> AskTokenServer:
        fields = {
            "grant_type": "refresh_token",
            "refresh_token": login.refresh_token,
            "client_id": self._client_id,
        }
        return AskTokenServer({**fields, "scope": SCOPES}, as_json=True)

    def headers(self, login: Login) -> dict[str, str]:
        return {"authorization": f"Bearer {login.access_token}"}

    def read_login(self, content: Mapping[str, Any]) -> Login | None:
        login = part(content, "claudeAiOauth")
        scopes = login.get("scopes")
        if not (token := text_field(login, "accessToken")):
            return None
        return Login(
            access_token=token,
            refresh_token=text_field(login, "refreshToken"),
            expires_at=seconds(login, "expiresAt", unit=0.001) or None,
            subscription=text_field(login, "subscriptionType") or None,
            account_id=text_field(login, "accountUuid"),
            scopes=tuple(map(str, scopes)) if isinstance(scopes, list) else (),
        )

    def write_login(
        self, content: Mapping[str, Any], reply: Mapping[str, Any], now: float
    ) -> dict[str, Any]:
        """Return the file's content with the reply's tokens; fields missing in the reply stay."""
        login = dict(part(content, "claudeAiOauth"))
        lives = seconds(reply, "expires_in")
        login |= {
            "accessToken": reply["access_token"],
            "expiresAt": int((now + lives) * 1000) if lives else 0,
        }
        # A reply without a new refresh token leaves the old one good.
        if refresh := text_field(reply, "refresh_token"):
            login["refreshToken"] = refresh
        if lasts := seconds(reply, "refresh_token_expires_in"):
            login["refreshTokenExpiresAt"] = int((now + lasts) * 1000)
        if scope := text_field(reply, "scope"):
            login["scopes"] = scope.split()
        for key, of in (("accountUuid", "account"), ("organizationUuid", "organization")):
            if uuid := text_field(part(reply, of), "uuid"):
                login[key] = uuid
        if profile := part(reply, "profile"):
            login |= plan_of(profile)
        return {**content, "claudeAiOauth": login}

    def without_login(self, content: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in content.items() if key != "claudeAiOauth"}

    async def about(self, pages: AccountPages, login: Login) -> dict[str, Any]:
        """The account's profile. Raises GrantRefused or UpstreamError."""
        return await pages.get(f"{self._base_url}/api/oauth/profile", self.headers(login))


def given_claude_login(settings: ClaudeSettings) -> Authorization | None:
    """Return the credential held outright by the settings, or None."""
    if settings.api_key is not None:
        return Authorization(
            {"x-api-key": settings.api_key.get_secret_value()}, "api_key", "CLAUDE__API_KEY"
        )
    if settings.oauth_token is not None:
        token = settings.oauth_token.get_secret_value()
        return Authorization(
            {"authorization": f"Bearer {token}"},
            "subscription",
            "CLAUDE_CODE_OAUTH_TOKEN",
            account_digest(token),
        )
    return None


def spare_claude_key(settings: ClaudeSettings) -> Authorization | None:
    """Return the API key that pays while a window of the subscription is used up, or None."""
    if (key := settings.when_used_up.api_key) is None:
        return None
    source = "CLAUDE__WHEN_USED_UP__API_KEY"
    return Authorization({"x-api-key": key.get_secret_value()}, "api_key", source)


def obstacle_for_program(settings: ClaudeSettings) -> str:
    """Return why the `claude` program of `/sdk` cannot use the configured login; an empty text if
    it can.
    """
    file = settings.credentials_file
    if given_claude_login(settings) is not None or file is None or file.name == LOGIN_FILE:
        return ""
    return (
        f"Claude Code reads its login from a file named {LOGIN_FILE} only: rename {file}, set "
        "CLAUDE__API_KEY, or use /api."
    )


def login_file_in_use(
    settings: ClaudeSettings,
    environ: Mapping[str, str] = os.environ,
    now: Callable[[], float] = time.time,
) -> Path | None:
    """Return the login file used by requests, or None without any login.

    The file is the first with a login that serves or can be renewed, else the first with a login,
    as in `Account`.
    """
    issuer = ClaudeIssuer(settings, environ)
    expired = None
    for path in issuer.files:
        file = CredentialFile(path)
        login = issuer.read_login(file.read(fresh=True) or {})
        if login is None:
            continue
        if not login.expires_within(0, now()) or (login.refresh_token and not file.obstacle()):
            return path
        expired = expired or path
    return expired


def login_files(settings: ClaudeSettings, environ: Mapping[str, str]) -> list[Path]:
    """Return the places of a login: the configured file, or Claude Code's own places and then the
    older one.
    """
    if settings.credentials_file is not None:
        return [settings.credentials_file.expanduser()]
    older = Path(environ.get("HOME") or Path.home()) / ".config/claude"
    return list(dict.fromkeys([claude_home(environ) / LOGIN_FILE, older / LOGIN_FILE]))


def claude_home(environ: Mapping[str, str]) -> Path:
    """Return the folder of Claude Code's own files."""
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")


def plan_of(profile: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a profile kept by Claude Code beside the tokens for the choice of its
    default model.
    """
    organization = part(profile, "organization")
    return {
        "subscriptionType": text_field(organization, "organization_type").removeprefix("claude_")
        or None,
        "rateLimitTier": text_field(organization, "rate_limit_tier") or None,
    }
