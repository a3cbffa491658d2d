"""The tokens that may answer permission requests, as the permission service knows them: by their
SHA-256.

A subscribed browser stands for one token. Once the token is revoked, replaced, expired or no longer
has the scope `approve`, the browser gets nothing any more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from shared.accounts.tokens import LiveTokens
from shared.runtime.files import identity_or_none
from shared.runtime.log import get_log
from shared.settings.problems import ConfigurationError
from shared.settings.security import Scope, SecuritySettings
from shared.settings.snapshot import SNAPSHOT

NEEDED: Scope = "approve"


class ApprovingTokens:
    """The tokens of `security` and of its file of tokens.

    A gateway that reloads the settings rewrites their snapshot; `reread` then returns the new ones.
    """

    def __init__(
        self,
        security: SecuritySettings,
        reread: Callable[[], SecuritySettings] | None = None,
        snapshot: Path | None = None,
    ) -> None:
        self._live = LiveTokens(security.tokens_file.expanduser())
        self._digests = approving_digests(security)
        self._is_required = has_tokens(security)
        self._reread = reread
        self._snapshot = snapshot
        self._seen = None if snapshot is None else identity_or_none(snapshot)

    def allows(self, digest: str, now: float) -> bool:
        """Return True if the token with the SHA-256 `digest` may answer requests at `now`, UTC
        seconds. The empty digest is of callers without a token: they may while none is required.
        """
        self._look()
        if not digest:
            return not self._is_required
        if digest in self._digests:
            return True
        stored = self._live.find(digest)
        return stored is not None and NEEDED in stored.scopes and not stored.has_expired(now)

    def _look(self) -> None:
        if self._snapshot is None or self._reread is None:
            return
        seen = identity_or_none(self._snapshot)
        if seen == self._seen:
            return
        self._seen = seen
        try:
            security = self._reread()
        except ConfigurationError as error:
            get_log().error("tokens_refused", reason=error.message, kept="the tokens from before")
            return
        self._digests = approving_digests(security)
        self._is_required = has_tokens(security)


def approving_digests(security: SecuritySettings) -> frozenset[str]:
    """Return the SHA-256 of every token in the settings with the right to answer requests."""
    hidden = [token.token for token in security.tokens if NEEDED in token.scopes]
    if security.auth_token is not None:
        hidden.append(security.auth_token)
    return frozenset(
        hashlib.sha256(each.get_secret_value().encode()).hexdigest() for each in hidden
    )


def has_tokens(security: SecuritySettings) -> bool:
    """Return True if requests need a token."""
    return security.auth_token is not None or bool(security.tokens)


def snapshot_path() -> Path | None:
    """Return the file with the settings of the running stack; None without a launcher."""
    named = os.environ.get(SNAPSHOT)
    return Path(named) if named else None
