"""Keeping one login file's login alive: one exchange at a time among all processes, whoever else
writes the file.

Refresh tokens are good for one use, so an exchange is made under a lock, for the login then in the
file, when its successor can surely be stored; and the reply is on disk before anything else
happens. What cannot be kept is a reply that was still on its way when this process was killed: the
draft tells the next one, and it tells the owner.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import IO, Any

from shared.accounts.login import EXCHANGE_SECONDS, Authorization, Login, account_digest
from shared.accounts.oauth import GrantRefused, Issuer
from shared.accounts.store import CredentialFile, LoginDraft
from shared.accounts.token_server import TokenServer
from shared.runtime.errors import CCProxyError, CredentialsExpired, Stopping, UpstreamError
from shared.runtime.log import get_log

EARLY_SECONDS = (
    300.0  # before the end, in the background; the official programs renew at about the same time
)
SETTLED_SECONDS = 60.0  # a token younger than this that is refused would not be cured by another
# after a refusal: another program may have spent the token and be about to write its successor
ADOPT_SECONDS = 2.0
LOCK_POLL_SECONDS = 0.05
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 300.0


class Refresher:
    """The login in `file` and the renewal of the login."""

    def __init__(
        self,
        issuer: Issuer,
        file: CredentialFile,
        tokens: TokenServer,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.file = file
        self.failure: CCProxyError | None = None
        self._issuer = issuer
        self._tokens = tokens
        self._now = now
        self._content: dict[str, Any] | None = None
        self._login: Login | None = None
        self._authorization: Authorization | None = None
        self._running: asyncio.Task[Login] | None = None
        self._refused = False
        self._failing_since: float | None = None
        self._failed_at = 0.0
        self._stopping = False
        self._pause = 0.0
        self._try_at = float("-inf")

    def login(self, *, fresh: bool = False) -> Login | None:
        content = self.file.read(fresh=fresh)
        # The file returns the same object until it changes. A new object is another login, for
        # which an earlier refusal or pause says nothing.
        if content is not self._content:
            self._content = content
            self.failure = None
            self._refused = False
            self._failing_since = None
            self._pause = 0.0
            self._try_at = float("-inf")
            self._login = self._issuer.read_login(content) if content else None
            self._authorization = None
            if self._login is not None:
                headers = self._issuer.headers(self._login)
                source = str(self.file.path)
                account = account_digest(self._login.account_id or source)
                self._authorization = Authorization(headers, self._login.billed_to, source, account)
        return self._login

    @property
    def is_refused(self) -> bool:
        """Return True when the token server has refused to renew the login last read."""
        return self._refused

    @property
    def failing_seconds(self) -> float:
        """Return the time between the first and the last failed renewal of the login last read."""
        return 0.0 if self._failing_since is None else self._failed_at - self._failing_since

    def authorization(self) -> Authorization | None:
        """Return the credential of the login last read."""
        return self._authorization

    def obstacle(self, login: Login) -> str:
        """Return the reason against renewing this login, with the remedy; an empty text if renewal
        is possible.
        """
        if not login.refresh_token:
            return f"it has no refresh token; {self._issuer.fix}"
        if self._refused:
            return str(self.failure).rstrip(".")
        obstacle = self.file.obstacle()
        return obstacle and f"{obstacle}, or {self._issuer.instead}"

    def was_just_written(self) -> bool:
        return self._now() - self.file.changed_at < SETTLED_SECONDS

    def renew_soon(self, login: Login) -> None:
        """Renew a login that still serves in the background, unless renewal is impossible."""
        if not self._stopping and self._now() >= self._try_at and not self.obstacle(login):
            self._begin(login)

    async def renew(self, stale: Login) -> Login:
        """Return the login after `stale`; all requests of this process wait for the same renewal.

        Raises CredentialsExpired when the owner has to act, UpstreamError when the token server has
        to recover, and Stopping when this process ends and no renewal has begun.
        """
        if self._stopping and self._running is None:
            raise Stopping
        # Shielded: a request that goes away must not cancel the exchange, whose refresh token may
        # be spent already.
        return await asyncio.shield(self._begin(stale))

    def recover(self) -> None:
        """Take over the draft of a process that died after the exchange, unless another process
        does so already.
        """
        login = self.login(fresh=True)
        if login is None or self.obstacle(login) or (lock := self.file.try_lock()) is None:
            return
        # A complete draft means that its process had the reply and died before the rename. The lock
        # keeps a live exchange's draft out of this.
        with lock:
            self._promote_finished(self.file.draft(login.refresh_token))

    async def finish(self) -> None:
        """Begin no further exchange, and wait for the current exchange: the refresh token is spent,
        so the reply is the login.
        """
        self._stopping = True
        if self._running is not None:
            get_log().info(
                "stop_waits_for_renewal",
                provider=self._issuer.name,
                source=str(self.file.path),
                at_most_seconds=EXCHANGE_SECONDS,
            )
            await asyncio.wait([self._running])

    def _begin(self, stale: Login) -> asyncio.Task[Login]:
        if self._running is None:
            self._running = asyncio.create_task(self._renew(stale))
            self._running.add_done_callback(self._ended)
        return self._running

    def _ended(self, task: asyncio.Task[Login]) -> None:
        self._running = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, CCProxyError):
            get_log().warning("login_not_renewed", provider=self._issuer.name, reason=error.message)

    async def _renew(self, stale: Login) -> Login:
        while True:
            # Each round looks at the file before the lock: the holder of the lock is renewing this
            # same login, and its result serves here as well.
            newer = self._newer(stale)
            if newer is not None:
                get_log().info(
                    "login_adopted", provider=self._issuer.name, source=str(self.file.path)
                )
                return newer
            self._check_renewable()
            if (lock := self._take_lock()) is not None:
                break
            if self._stopping:
                raise Stopping
            await asyncio.sleep(LOCK_POLL_SECONDS)
        with lock:
            # A last look under the lock. The holder before may have stored its result after the
            # look above, and the token in our hands would then be spent.
            return self._newer(stale) or await self._exchange()

    def _newer(self, stale: Login) -> Login | None:
        """Return a valid login written by another process since `stale` was read."""
        login = self.login(fresh=True)
        if (
            login is None
            or login.access_token == stale.access_token
            or login.expires_within(0, self._now())
        ):
            return None
        return login

    def _check_renewable(self) -> Login:
        login = self.login()
        if login is None:
            raise CredentialsExpired(
                f"{self.file.path} {self.file.problem or 'holds no login'}: {self._issuer.fix}."
            )
        if obstacle := self.obstacle(login):
            raise CredentialsExpired(
                f"The {self._issuer.title} login in {self.file.path} cannot be renewed: {obstacle}."
            )
        if self._now() < self._try_at:
            waits = str(round(self._try_at - self._now()))
            raise UpstreamError(str(self.failure), headers={"retry-after": waits})
        return login

    def _take_lock(self) -> IO[bytes] | None:
        try:
            return self.file.try_lock()
        except OSError as error:
            raise self._failed(
                UpstreamError(f"{self.file.path} cannot be locked: {error.strerror}.")
            ) from error

    async def _exchange(self) -> Login:
        """Spend the refresh token in the file. From the reply to the disk there is no await."""
        spent = self._check_renewable()
        before = self._content or {}
        draft = self.file.draft(spent.refresh_token)
        # Step 1: take over what an earlier process has already paid for.
        if self._promote_finished(draft) and (newer := self.login(fresh=True)):
            return newer
        try:
            # Step 2: take the room on disk before the token is spent. From step 3 on, the reply is
            # the only copy of the login.
            draft.reserve()
            reply = await self._tokens.ask(self._issuer.token_url, self._issuer.ask_refresh(spent))
            # Step 3: the reply goes to disk at once. The file itself is looked at again only when
            # the draft is safe.
            draft.write(self._render(before, reply))
            return self._store(draft, spent, reply)
        except GrantRefused as refusal:
            draft.discard()
            return await self._adopt_or_refuse(spent, refusal, interrupted=draft.interrupted)
        except UpstreamError as error:
            draft.discard()
            raise self._failed(error) from error
        except OSError as error:
            # A complete draft is the login now. It stays for the next attempt, which begins with
            # step 1.
            if not draft.is_complete():
                draft.discard()
            problem = UpstreamError(f"{self.file.path} cannot be replaced: {error.strerror}.")
            raise self._failed(problem) from error

    def _store(self, draft: LoginDraft, spent: Login, reply: Mapping[str, Any]) -> Login:
        """Write the successor over the spent login, and over no other login."""
        current = self.login(fresh=True)
        # Another program has logged in or renewed meanwhile. Its login is at least as new, and
        # overwriting it would log that program out.
        if current is not None and current.refresh_token != spent.refresh_token:
            draft.discard()
            return current
        # Another program may have changed other fields of the file meanwhile: the new tokens go
        # into the present content, not into the content from before the exchange.
        if self._content is not None:
            draft.write(self._render(self._content, reply))
        elif self.file.problem == "does not exist":
            draft.discard()
            raise CredentialsExpired(
                f"{self.file.path} was removed while it was renewed: {self._issuer.fix}."
            )
        draft.promote()
        get_log().info("login_renewed", provider=self._issuer.name, source=str(self.file.path))
        return self.login(fresh=True) or spent

    def _render(self, content: Mapping[str, Any], reply: Mapping[str, Any]) -> bytes:
        return render_login_file(
            self._issuer.write_login(content, reply, self._now()), self._issuer.indent
        )

    def _promote_finished(self, draft: LoginDraft) -> bool:
        if not draft.is_complete():
            return False
        draft.promote()
        get_log().info("login_recovered", provider=self._issuer.name, source=str(self.file.path))
        return True

    async def _adopt_or_refuse(
        self, spent: Login, refusal: GrantRefused, *, interrupted: bool
    ) -> Login:
        # Another program may have spent the same token just before and be about to write its
        # successor.
        give_up = time.monotonic() + ADOPT_SECONDS
        while time.monotonic() < give_up:
            if newer := self._newer(spent):
                return newer
            await asyncio.sleep(LOCK_POLL_SECONDS)
        lost = " A renewal before this one was killed before its reply came." if interrupted else ""
        self._refused = True
        self.failure = GrantRefused(f"{refusal.message}{lost} To log in again {self._issuer.fix}.")
        raise self.failure from refusal

    def _failed(self, error: UpstreamError) -> UpstreamError:
        """Back off, for as long as the server asks or twice as long as the last time."""
        self._pause = min(max(self._pause * 2, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
        pause = max(self._pause, float(error.headers.get("retry-after", 0)))
        self._failed_at = self._now()
        if self._failing_since is None:
            self._failing_since = self._failed_at
        self._try_at = self._failed_at + pause
        self.failure = UpstreamError(error.message, headers={"retry-after": str(round(pause))})
        return self.failure


def render_login_file(content: Mapping[str, Any], indent: int | None) -> bytes:
    """Return the bytes of a login file in the style of the official program of the file."""
    return json.dumps(content, indent=indent, separators=None if indent else (",", ":")).encode()
