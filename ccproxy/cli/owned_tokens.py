"""The named tokens of the stack in front of the owner: made, replaced and revoked in its file.

A token is shown once and kept as a hash. `keep` also writes it to a file of its own beside the
hashes, mode 0600, for a client that asks for its token (`ccproxy token helper`). A token made for
the run of one program is revoked at the program's end; one that a killed `ccproxy run` left behind
is removed by the next change.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ccproxy.cli.found_stack import FoundStack, find_stack
from ccproxy.launcher.stacks import lives_since, start_time
from shared.accounts.tokens import StoredToken, TokenFile, token_digest
from shared.runtime.errors import CCProxyError
from shared.runtime.files import replace_private
from shared.settings.security import STORED_PREFIX, TOKEN_NAME
from shared.settings.tree import Settings

TOKEN_BYTES = 32


class TokenRefused(CCProxyError):
    """A named token cannot be made, replaced or shown as asked."""


@dataclass(frozen=True, slots=True)
class OwnedTokens:
    """The named tokens in `file`, which the gateways of `stack` read; `stack` is None while no
    stack of this machine is in front.
    """

    file: TokenFile
    stack: FoundStack | None = None

    def add(self, token: StoredToken, *, keep: bool = False) -> str:
        """Keep `token` with the hash of a new secret, and return the secret. Raises TokenRefused
        for a name in use, TokensUnusable.
        """
        secret = new_secret()
        with self.file.changing() as tokens:
            remove_leftovers(tokens)
            if any(known.name == token.name for known in tokens):
                raise TokenRefused(
                    f"A token {token.name!r} exists; `ccproxy token rotate {token.name}` replaces "
                    "its secret."
                )
            tokens.append(token.model_copy(update={"sha256": token_digest(secret)}))
            if keep:
                self._keep(token.name, secret)
        return secret

    def rotate(self, name: str, expires_at: float | None = None) -> str:
        """Replace the secret of the token `name` and return the new secret; the old one ends. With
        `expires_at` the token gets a new end. Raises TokenRefused, TokensUnusable.
        """
        secret = new_secret()
        changes: dict[str, object] = {"sha256": token_digest(secret), "created_at": time.time()}
        if expires_at is not None:
            changes["expires_at"] = expires_at
        with self.file.changing() as tokens:
            place = place_of_name(tokens, name)
            renewed = tokens[place].model_copy(update=changes)
            if renewed.has_expired(time.time()):
                raise TokenRefused(f"The token {name!r} has expired; set an end with --expires.")
            tokens[place] = renewed
            if self.kept_at(name).exists():
                self._keep(name, secret)
        return secret

    def change(self, name: str, changes: dict[str, object]) -> StoredToken:
        """Change facts of the token `name`, and return the token. Its secret stays. Raises
        TokenRefused, TokensUnusable.
        """
        with self.file.changing() as tokens:
            place = place_of_name(tokens, name)
            tokens[place] = checked_token(tokens[place].model_dump() | changes)
            return tokens[place]

    def revoke(self, name: str) -> None:
        """Remove the token `name`. Raises TokenRefused for an unknown name, TokensUnusable."""
        with self.file.changing() as tokens:
            del tokens[place_of_name(tokens, name)]
            self.kept_at(name).unlink(missing_ok=True)

    def kept(self, name: str) -> str | None:
        """Return the secret of a token made with `keep`; None if none is kept. Raises
        TokenRefused.
        """
        try:
            return self.kept_at(name).read_text().strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise TokenRefused(f"{self.kept_at(name)} cannot be read: {error.strerror}.") from error

    def kept_at(self, name: str) -> Path:
        """Return the file of a kept token. Raises TokenRefused for a name no token can have."""
        if not TOKEN_NAME.fullmatch(name):
            raise TokenRefused(f"{name!r} is no name of a token.")
        return self.file.path.with_name("tokens") / f"{name}.token"

    def _keep(self, name: str, secret: str) -> None:
        path = self.kept_at(name)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_private(path, secret + "\n")
        except OSError as error:
            raise TokenRefused(f"{path} cannot be written: {error.strerror}.") from error

    @contextlib.contextmanager
    def made_for(self, name: str, scopes: tuple[str, ...]) -> Iterator[str]:
        """Yield the secret of a token that holds for this process and its program, and is revoked
        at the end. Its name is `name`, or `name-2` and so on while that is in use.
        """
        pid = os.getpid()
        secret = new_secret()
        digest = token_digest(secret)
        with self.file.changing() as tokens:
            remove_leftovers(tokens)
            taken = {token.name for token in tokens}
            names = [name, *(f"{name}-{number}" for number in range(2, len(taken) + 3))]
            free = next(each for each in names if each not in taken)
            facts = {"name": free, "sha256": digest, "scopes": scopes, "created_at": time.time()}
            tokens.append(checked_token(facts | {"process": f"{pid} {start_time(pid)}"}))
        try:
            yield secret
        finally:
            with self.file.changing() as tokens:
                tokens[:] = [token for token in tokens if token.sha256 != digest]


def tokens_in_front(settings: Settings) -> OwnedTokens:
    """Return the tokens of the stack to speak to. Raises SeveralStacks, or as
    `tokens_of_stack`.
    """
    return tokens_of_stack(find_stack(settings), settings)


def tokens_of_stack(stack: FoundStack, settings: Settings) -> OwnedTokens:
    """Return the tokens of `stack`, those of the settings if it does not run. Raises TokenRefused
    for a stack of another machine.
    """
    if stack.is_elsewhere:
        raise TokenRefused(
            f"The stack at {stack.url} was not started on this machine by this user; its tokens "
            "are made where it runs."
        )
    if stack.running is not None:
        return OwnedTokens(TokenFile(Path(stack.running.tokens_file)), stack)
    return OwnedTokens(TokenFile(settings.security.tokens_file.expanduser()))


def new_secret() -> str:
    """Return a new token, which nobody can guess."""
    return STORED_PREFIX + secrets.token_urlsafe(TOKEN_BYTES)


def checked_token(facts: dict[str, object]) -> StoredToken:
    """Return the token with `facts`. Raises TokenRefused with the reason for a wrong fact."""
    try:
        return StoredToken.model_validate({"sha256": token_digest("")} | facts)
    except ValidationError as error:
        problem = error.errors()[0]
        why = problem.get("ctx", {}).get("error") or problem["msg"]
        raise TokenRefused(f"{why}.") from error


def place_of_name(tokens: list[StoredToken], name: str) -> int:
    """Return the index of the token `name`. Raises TokenRefused for an unknown name."""
    for place, token in enumerate(tokens):
        if token.name == name:
            return place
    known = ", ".join(token.name for token in tokens) or "none"
    raise TokenRefused(f"There is no token {name!r}. There are: {known}.")


def remove_leftovers(tokens: list[StoredToken]) -> None:
    """Remove the tokens of programs whose `ccproxy run` was killed."""
    tokens[:] = [token for token in tokens if not token.process or lives(token.process)]


def lives(process: str) -> bool:
    """Return True while the process of `PID START` lives."""
    pid, _, started = process.partition(" ")
    return pid.isdigit() and lives_since(int(pid), started)
