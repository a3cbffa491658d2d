"""How the owner pays Claude: an API key, a token in the environment, or the login file Claude Code keeps.

Searched in that order; the first that is there is used and named in `/health`. An account is asked once per request
and answers from memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from shared.credentials.store import CredentialFile
from shared.errors import CredentialsMissing
from shared.settings import ClaudeSettings

OAUTH_BETA = "oauth-2025-04-20"  # without it the service answers 401 to a login's token
HOW_TO_LOG_IN = "run `claude auth login` (Claude Code's own login is used as it is), or set CLAUDE__API_KEY"


@dataclass(frozen=True, slots=True)
class Authorization:
    """What one request carries. `lane` is `api_key` or `subscription`; `source` says where it came from."""

    headers: Mapping[str, str]
    lane: str
    source: str


@dataclass(frozen=True, slots=True)
class CredentialState:
    """For `/health` and the start-up lines: never the secret itself. `status` is pass, warn or fail."""

    status: str
    output: str
    source: str
    expires_at: float | None = None
    subscription: str | None = None


def login_files(settings: ClaudeSettings, environ: Mapping[str, str]) -> list[Path]:
    """Where a login may be, first found wins: the one configured, Claude Code's own places, then the older one."""
    if settings.credentials_file is not None:
        return [settings.credentials_file.expanduser()]
    home = Path(environ.get("HOME") or Path.home())
    config = Path(environ.get("CLAUDE_CONFIG_DIR") or home / ".claude")
    return [config / ".credentials.json", home / ".config/claude/.credentials.json"]


class ClaudeAccount:
    """The owner's account, as this process sees it now."""

    def __init__(self, settings: ClaudeSettings, environ: Mapping[str, str] = os.environ) -> None:
        self._api_key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._token = environ.get("CLAUDE_CODE_OAUTH_TOKEN", "")
        self._files = [CredentialFile(path) for path in login_files(settings, environ)]

    def authorize(self) -> Authorization:
        """The credential for one request. Raises CredentialsMissing, naming the command that makes one."""
        if self._api_key:
            return Authorization({"x-api-key": self._api_key}, "api_key", "CLAUDE__API_KEY")
        if self._token:
            return bearer(self._token, "CLAUDE_CODE_OAUTH_TOKEN")
        for login in self._logins(fresh=False):
            return bearer(login.access_token, str(login.path))
        raise CredentialsMissing(f"No Claude credentials were found: {HOW_TO_LOG_IN}.")

    def on_unauthorized(self, refused: Authorization) -> Authorization | None:
        """After a 401: another credential to try once, when a program has replaced the login meanwhile."""
        if refused.lane == "api_key" or refused.source == "CLAUDE_CODE_OAUTH_TOKEN":
            return None
        for login in self._logins(fresh=True):
            renewed = bearer(login.access_token, str(login.path))
            return None if renewed == refused else renewed
        return None

    def describe(self) -> CredentialState:
        if self._api_key:
            return CredentialState("pass", "API key from CLAUDE__API_KEY", "CLAUDE__API_KEY")
        if self._token:
            return CredentialState("pass", "token from CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
        for login in self._logins(fresh=True):
            return login.describe()
        looked = "; ".join(f"{file.path} {file.problem}" for file in self._files)
        return CredentialState("warn", f"no Claude credentials ({looked}): {HOW_TO_LOG_IN}", "")

    def _logins(self, *, fresh: bool) -> Iterator[Login]:
        for file in self._files:
            login = (file.read(fresh=fresh) or {}).get("claudeAiOauth")
            if isinstance(login, dict) and isinstance(token := login.get("accessToken"), str) and token:
                expires = login.get("expiresAt")
                yield Login(
                    path=file.path,
                    access_token=token,
                    expires_at=expires / 1000 if isinstance(expires, int | float) and expires else None,
                    subscription=login.get("subscriptionType"),
                )


@dataclass(frozen=True, slots=True)
class Login:
    """A Claude Code login as found on disk; `expires_at` in UTC seconds, None when the file does not say."""

    path: Path
    access_token: str
    expires_at: float | None
    subscription: str | None

    def describe(self) -> CredentialState:
        plan = f"{self.subscription} subscription" if self.subscription else "login"
        if self.expires_at is None:
            return CredentialState("pass", f"{plan} from {self.path}", str(self.path), None, self.subscription)
        until = datetime.fromtimestamp(self.expires_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        live = self.expires_at > time.time()
        output = f"{plan} from {self.path}, " + (f"valid until {until}" if live else f"expired {until}")
        return CredentialState("pass" if live else "warn", output, str(self.path), self.expires_at, self.subscription)


def bearer(token: str, source: str) -> Authorization:
    return Authorization({"authorization": f"Bearer {token}"}, "subscription", source)
