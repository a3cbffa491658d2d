"""The tokens a gateway knows: those of the settings, those that `ccproxy token` made, and the
stack's own token, by which the owner's commands are known.

A token is required once the settings have one. Without one this machine is trusted, and a token
that `ccproxy token` made only names its requests and limits them: to add a token must not shut out
the programs that have none.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import get_args

from gateway.server.signed_in import Token
from shared.accounts.hold_wishes import hold_seconds
from shared.accounts.tokens import STACK_TOKEN, LiveTokens, StoredToken
from shared.permissions.deciders import BY_OWNER
from shared.runtime.files import create_private
from shared.runtime.log import get_log
from shared.settings.places import state_dir
from shared.settings.security import STORED_PREFIX, Scope, SecuritySettings

EVERYTHING: frozenset[Scope] = frozenset(get_args(Scope))
KEY_BYTES = 32


class KnownTokens:
    """The tokens of `security`. `environ` has the SHA-256 of the stack's own token; `key_file`
    holds the secret behind the cookies of stored tokens.
    """

    def __init__(
        self,
        security: SecuritySettings,
        environ: Mapping[str, str] = os.environ,
        key_file: Path | None = None,
    ) -> None:
        self.configured = configured_tokens(security)
        self._compared = list(self.configured)
        self._has_configured_shares = any(
            limit.unit == "percent" for token in self.configured for limit in token.limits
        )
        if self.configured and (digest := environ.get(STACK_TOKEN, "")):
            # A random key, kept nowhere else, and `all` leaves the token out: no cookie of this
            # token is valid.
            stack = Token(BY_OWNER, secrets.token_bytes(KEY_BYTES), EVERYTHING, digest)
            self._compared.append(stack)
        self._stored = LiveTokens(security.tokens_file.expanduser())
        self._key_file = key_file or state_dir() / "cookie.key"
        self._key = b""

    @property
    def required(self) -> bool:
        """Return True if a request needs a token."""
        return bool(self.configured)

    @property
    def has_shares(self) -> bool:
        """Return True if a token has a limit that is a share of a subscription's window."""
        return self._has_configured_shares or self._stored.has_shares

    def limited(self) -> list[Token]:
        """Return the tokens that have limits."""
        return [token for token in self.all() if token.limits or token.at_once]

    def find(self, given: Iterable[bytes]) -> Token | None:
        """Return the token among the secrets `given`. An expired token is found too."""
        found = None
        for secret in given:
            digest = hashlib.sha256(secret).hexdigest()
            found = self._find_configured(digest) or found
            if found is None and secret.startswith(STORED_PREFIX.encode()):
                stored = self._stored.find(digest)
                found = None if stored is None else self._as_token(stored)
        return found

    def is_valid(self, digest: str) -> bool:
        """Return True if the token with this digest may be used; True also for no token."""
        if not digest or self._find_configured(digest) is not None:
            return True
        stored = self._stored.find(digest)
        return stored is not None and not stored.has_expired(time.time())

    def all(self) -> list[Token]:
        """Return every token that a browser can sign in with."""
        return [*self.configured, *map(self._as_token, self._stored.all())]

    def _find_configured(self, digest: str) -> Token | None:
        """Return the token of the settings with `digest`, or the stack's own. All are compared, so
        that the time taken reveals no secret.
        """
        found = None
        for token in self._compared:
            if hmac.compare_digest(digest, token.digest):
                found = token
        return found

    def _as_token(self, stored: StoredToken) -> Token:
        if not self._key:
            self._key = machine_key(self._key_file)
        return Token(
            stored.name,
            hmac.digest(self._key, stored.sha256.encode(), "sha256"),
            frozenset(stored.scopes),
            stored.sha256,
            stored.expires_at,
            stored.models,
            stored.routes,
            stored.limits,
            stored.at_once,
            hold_seconds(stored.hold),
            stored.priority,
        )


def configured_tokens(security: SecuritySettings) -> list[Token]:
    """Return the tokens of the settings, the owner's own first."""
    found = []
    if security.auth_token is not None:
        # The owner's own token has no limits: QUOTA__STOP_AT_PERCENT bounds what all spend.
        secret = security.auth_token.get_secret_value().encode()
        found.append(Token(BY_OWNER, secret, EVERYTHING, hashlib.sha256(secret).hexdigest()))
    for token in security.tokens:
        secret = token.token.get_secret_value().encode()
        digest = hashlib.sha256(secret).hexdigest()
        scopes = frozenset(token.scopes)
        found.append(
            Token(
                token.name,
                secret,
                scopes,
                digest,
                limits=token.limits,
                at_once=token.at_once,
                hold=hold_seconds(token.hold),
                priority=token.priority,
            )
        )
    return found


def machine_key(path: Path) -> bytes:
    """Return the secret in the file at `path`, made by the first process that needs it.

    Where the file cannot be written, the secret is new, and sign-ins end with this process.
    """
    try:
        if not path.exists():
            create_private(path, secrets.token_bytes(KEY_BYTES))
        return path.read_bytes()
    except OSError as error:
        get_log().warning("sign_ins_end_with_this_process", reason=str(error))
        return secrets.token_bytes(KEY_BYTES)
