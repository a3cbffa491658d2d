"""The owner's two accounts: each provider's issuer of logins with the credential that the settings
hold outright.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping

from shared.accounts import claude, codex
from shared.accounts.account import Account
from shared.accounts.keychain import Keychain
from shared.settings.providers import ClaudeSettings, CodexSettings


class ClaudeAccount(Account):
    """The owner's Claude account."""

    def __init__(
        self,
        settings: ClaudeSettings,
        environ: Mapping[str, str] = os.environ,
        *,
        platform: str = sys.platform,
        now: Callable[[], float] = time.time,
    ) -> None:
        searching = settings.credentials_file is None
        keychain = Keychain() if platform == "darwin" and searching else None
        super().__init__(
            claude.ClaudeIssuer(settings, environ),
            claude.given_claude_login(settings),
            keychain,
            now,
        )


class CodexAccount(Account):
    """The owner's ChatGPT account."""

    def __init__(
        self,
        settings: CodexSettings,
        environ: Mapping[str, str] = os.environ,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(
            codex.CodexIssuer(settings, environ), codex.given_codex_login(settings), now=now
        )
