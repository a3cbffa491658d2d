"""The credentials of the owner for ChatGPT, in the order of the search. The first that serves is
used and named in `/health`:

CODEX__API_KEY, then the Codex program's own `auth.json` (CODEX__AUTH_FILE alone when set; else
$CODEX_HOME, ~/.codex), which holds either a ChatGPT login or an API key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from shared.accounts.login import Authorization, Login
from shared.accounts.oauth import (
    AccountPages,
    AskTokenServer,
    PendingLogin,
    claims_of,
    part,
    seconds,
    text_field,
)
from shared.settings.providers import CodexSettings

SCOPES = "openid profile email offline_access"
AUTH_CLAIM = "https://api.openai.com/auth"
PROFILE_CLAIM = "https://api.openai.com/profile"


class CodexIssuer:
    """ChatGPT's login servers and the Codex program's `auth.json`."""

    name = "codex"
    title = "ChatGPT"
    manual_redirect = ""
    fix = "run `ccproxy auth login-openai`"
    instead = "set CODEX__API_KEY"
    indent: int | None = 2

    def __init__(self, settings: CodexSettings, environ: Mapping[str, str] = os.environ) -> None:
        base = settings.oauth.base_url.rstrip("/")
        self.token_url = f"{base}/oauth/token"
        self.files = [auth_file(settings, environ)]
        self.redirect = ("127.0.0.1", settings.oauth.callback_port, "/auth/callback")
        self._authorize_url = f"{base}/oauth/authorize"
        self._client_id = settings.oauth.client_id

    def authorize_url(self, pending: PendingLogin) -> str:
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": pending.redirect_uri,
            "scope": SCOPES,
            "code_challenge": pending.challenge,
            "code_challenge_method": "S256",
            "state": pending.state,
            "id_token_add_organizations": "true",
            "codex_cli_simplified_flow": "true",
            "originator": "ccproxy",
        }
        return f"{self._authorize_url}?{urlencode(query)}"

    def ask_exchange(self, pending: PendingLogin, code: str) -> AskTokenServer:
        """A form, unlike the refresh (measured)."""
        fields = {
            "grant_type": "authorization_code",
            "client_id": self._client_id,
            "code": code,
            "redirect_uri": pending.redirect_uri,
            "code_verifier": pending.verifier,
        }
        return AskTokenServer(fields, as_json=False)

    def ask_refresh(self, login: Login) -> AskTokenServer:
        fields = {
            "client_id": self._client_id,
            "grant_type": "refresh_token",
            "refresh_token": login.refresh_token,
        }
        return AskTokenServer(fields, as_json=True)

    def headers(self, login: Login) -> dict[str, str]:
        account = {"chatgpt-account-id": login.account_id} if login.account_id else {}
        return {"authorization": f"Bearer {login.access_token}", **account}

    def read_login(self, content: Mapping[str, Any]) -> Login | None:
        if content.get("auth_mode") != "apikey" and (
            login := chatgpt_login(part(content, "tokens"))
        ):
            return login
        key = text_field(content, "OPENAI_API_KEY")
        return Login(key, billed_to="api_key") if key else None

    def write_login(
        self, content: Mapping[str, Any], reply: Mapping[str, Any], now: float
    ) -> dict[str, Any]:
        """Return the file's content with the reply's tokens; fields missing in the reply stay."""
        tokens = dict(part(content, "tokens"))
        tokens |= {
            key: reply[key]
            for key in ("id_token", "access_token", "refresh_token")
            if text_field(reply, key)
        }
        if account := account_id(reply.get("id_token"), reply["access_token"]):
            tokens["account_id"] = account
        written = datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z")
        return {
            "OPENAI_API_KEY": None,
            **content,
            "auth_mode": "chatgpt",
            "tokens": tokens,
            "last_refresh": written,
        }

    def without_login(self, content: Mapping[str, Any]) -> dict[str, Any]:
        ours = {"auth_mode", "OPENAI_API_KEY", "tokens", "last_refresh"}
        return {key: value for key, value in content.items() if key not in ours}

    async def about(self, pages: AccountPages, login: Login) -> dict[str, Any]:
        """Return the login's own claims about the account: no free page of the vendor describes the
        account.
        """
        del pages
        account = {"email": login.email, "id": login.account_id}
        return {"account": account, "organization": {"organization_type": login.subscription}}


def given_codex_login(settings: CodexSettings) -> Authorization | None:
    if settings.api_key is None:
        return None
    return Authorization(
        {"authorization": f"Bearer {settings.api_key.get_secret_value()}"},
        "api_key",
        "CODEX__API_KEY",
    )


def spare_codex_key(settings: CodexSettings) -> Authorization | None:
    """Return the API key that pays while a window of the subscription is used up, or None."""
    if (key := settings.when_used_up.api_key) is None:
        return None
    bearer = f"Bearer {key.get_secret_value()}"
    return Authorization({"authorization": bearer}, "api_key", "CODEX__WHEN_USED_UP__API_KEY")


def auth_file(settings: CodexSettings, environ: Mapping[str, str]) -> Path:
    if settings.auth_file is not None:
        return settings.auth_file.expanduser()
    return codex_home(environ) / "auth.json"


def codex_home(environ: Mapping[str, str]) -> Path:
    """Return the folder of Codex's own files."""
    home = Path(environ.get("HOME") or Path.home())
    return Path(environ.get("CODEX_HOME") or home / ".codex")


def chatgpt_login(tokens: Mapping[str, Any]) -> Login | None:
    if not (access := text_field(tokens, "access_token")):
        return None
    said = claims_of(access)
    identity = claims_of(tokens.get("id_token"))
    scopes = said.get("scp")
    return Login(
        access_token=access,
        refresh_token=text_field(tokens, "refresh_token"),
        expires_at=seconds(said, "exp") or None,
        subscription=text_field(
            part(identity, AUTH_CLAIM) | part(said, AUTH_CLAIM), "chatgpt_plan_type"
        )
        or None,
        account_id=text_field(tokens, "account_id") or account_id(tokens.get("id_token"), access),
        email=text_field(identity, "email") or text_field(part(said, PROFILE_CLAIM), "email"),
        scopes=tuple(map(str, scopes)) if isinstance(scopes, list) else (),
    )


def account_id(*tokens: Any) -> str:
    """Return the account's claim for the backend, from the first token with such a claim."""
    found = (
        text_field(part(claims_of(token), AUTH_CLAIM), "chatgpt_account_id") for token in tokens
    )
    return next(filter(None, found), "")
