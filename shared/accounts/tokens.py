"""Named tokens: the file in which `ccproxy token` keeps them, and the view of a running gateway.

The file holds the SHA-256 of each token and never a token. A plain hash suffices: every token is
256 random bits, which nobody finds by trying, so the slow hash of a password would protect nothing
and cost time in every request.

The file is replaced as a whole under a lock, and has mode 0600. A gateway sees a change within
LOOK_SECONDS, and at once for a token it does not know. A file that cannot be used leaves the tokens
from before in force.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.accounts.hold_wishes import TokenHold, TokenPriority
from shared.accounts.token_limits import MOST_AT_ONCE, Limits
from shared.runtime.errors import CCProxyError
from shared.runtime.files import identity_or_none, replace_private
from shared.runtime.log import get_log
from shared.settings.security import Scope, usable_name

LOOK_SECONDS = 1.0
# names the SHA-256 of the stack's own token, in the environment of the stack's processes
STACK_TOKEN = "CCPROXY_STACK_TOKEN_SHA256"

Route = Literal["api", "sdk", "codex"]


class TokensUnusable(CCProxyError):
    """The file of named tokens cannot be used."""


class TokensUnreadable(TokensUnusable):
    """The file of named tokens cannot be read now; a later try may succeed."""


class StoredToken(BaseModel):
    """A named token. Times are in UTC seconds since 1970; an empty list of models or routes allows
    all. `at_once` is the most requests at the same time, 0 for any number. `hold` is the wish to
    hold the token's requests (shared/accounts/hold_wishes.py), and `priority` the requests' place
    in a queue; both empty when not set.

    `process` is the launcher of `ccproxy run` that revokes the token at its end, as `PID START`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Annotated[str, AfterValidator(usable_name)]
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: tuple[Scope, ...] = ("use",)
    created_at: float = 0.0
    expires_at: float | None = None
    models: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    limits: Limits = ()
    at_once: int = Field(0, ge=0, le=MOST_AT_ONCE)
    hold: TokenHold = ""
    priority: TokenPriority | Literal[""] = ""
    process: str = ""

    def has_expired(self, now: float) -> bool:
        return self.expires_at is not None and now >= self.expires_at


class _Content(BaseModel):
    tokens: list[StoredToken] = Field(default_factory=list)


def token_digest(token: str) -> str:
    """Return the SHA-256 of a token, in hexadecimal digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def allows_model(patterns: tuple[str, ...], model: str) -> bool:
    """Return True if `model` matches one of `patterns` (`claude-haiku-*`), or without patterns."""
    return not patterns or any(fnmatchcase(model, pattern) for pattern in patterns)


class TokenFile:
    """The named tokens in the file at `path`, which need not exist."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[StoredToken]:
        """Return the tokens in the file. Raises TokensUnusable."""
        try:
            return _Content.model_validate_json(self.path.read_bytes()).tokens
        except FileNotFoundError:
            return []
        except OSError as error:
            raise TokensUnreadable(f"{self.path} cannot be read: {error.strerror}.") from error
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"])) or "its content"
            raise TokensUnusable(
                f"{self.path} is not a file of named tokens ({place} is wrong); mend it, or remove "
                "it and add the tokens again."
            ) from error

    @contextlib.contextmanager
    def changing(self) -> Iterator[list[StoredToken]]:
        """Yield the tokens for a change, and write the tokens at the end. Only a single process
        changes tokens at a time.

        Raises TokensUnusable; the file stays as it was then, and after any error inside.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_CREAT, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tokens = self.read()
            yield tokens
            try:
                replace_private(self.path, _Content(tokens=tokens).model_dump_json(indent=1))
            except OSError as error:
                raise self._unwritable(error) from error
        finally:
            os.close(lock)

    def _unwritable(self, error: OSError) -> TokensUnusable:
        return TokensUnusable(f"{self.path} cannot be written: {error.strerror}.")


class LiveTokens:
    """The tokens of a file, for a process that runs while the file changes.

    `clock` counts seconds for the times between two looks.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = TokenFile(path)
        self._clock = clock
        self._looked = -LOOK_SECONDS
        self._seen: tuple[int, ...] | None = None
        self._unreadable = ""  # the reason, while the last look could not read the file
        self._by_digest: dict[str, StoredToken] = {}
        self._has_shares = False

    def find(self, digest: str) -> StoredToken | None:
        """Return the token with the SHA-256 `digest`. An unknown token causes a look at the file:
        the token may be a moment old.
        """
        if self._clock() - self._looked >= LOOK_SECONDS or digest not in self._by_digest:
            self._look()
        return self._by_digest.get(digest)

    @property
    def has_shares(self) -> bool:
        """Return True if a token has a limit that is a share of a subscription's window."""
        return self._has_shares

    def all(self) -> list[StoredToken]:
        """Return the tokens in the file now."""
        self._look()
        return list(self._by_digest.values())

    def _look(self) -> None:
        self._looked = self._clock()
        seen = identity_or_none(self._file.path)
        if seen == self._seen and not self._unreadable:
            return
        self._seen = seen
        try:
            tokens = self._file.read()
            self._unreadable = ""
        except TokensUnreadable as error:
            # The same file may be readable at the next look. The reason is logged once.
            if error.message != self._unreadable:
                get_log().error(
                    "tokens_refused", reason=error.message, kept="the tokens from before"
                )
            self._unreadable = error.message
            return
        except TokensUnusable as error:
            self._unreadable = ""
            get_log().error("tokens_refused", reason=error.message, kept="the tokens from before")
            return
        self._by_digest = {token.sha256: token for token in tokens}
        self._has_shares = any(
            limit.unit == "percent" for token in tokens for limit in token.limits
        )
