"""One provider's credentials as this process sees them now: what is configured outright, else the
first login of use.

`authorize` answers from memory; only a login that has expired makes a request wait. A login serves
as long as it lives, whatever keeps it from being renewed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from shared.accounts.keychain import Keychain
from shared.accounts.login import Authorization, CredentialState, Login, Renewal
from shared.accounts.oauth import Issuer
from shared.accounts.refresher import EARLY_SECONDS, Refresher
from shared.accounts.store import CredentialFile
from shared.accounts.token_server import TokenServer
from shared.runtime.errors import CredentialsMissing
from shared.runtime.times import minute_in_utc

TORN_LOOK_SECONDS = 0.05  # between two looks at a file that is just being written
SKEW_WORTH_TELLING_SECONDS = 60.0
# From the first to the last failed renewal in a row: a machine that wakes up has no network for a
# moment, and that is no trouble of the login.
FAILING_SECONDS = 120.0


class Account:
    """`given` is a credential from the settings or the environment, used instead of any login."""

    def __init__(
        self,
        issuer: Issuer,
        given: Authorization | None,
        keychain: Keychain | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.issuer = issuer
        self.tokens = TokenServer()
        self._given = given
        self._keychain = keychain
        self._now = now
        files: list[CredentialFile] = [CredentialFile(path) for path in issuer.files]
        files += [keychain] if keychain else []
        self._refreshers = [Refresher(issuer, file, self.tokens, now) for file in files]

    async def __aenter__(self) -> Self:
        for refresher in self._refreshers:
            refresher.recover()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.gather(*(refresher.finish() for refresher in self._refreshers))
        await self.tokens.__aexit__(kind, error, trace)

    async def authorize(self) -> Authorization:
        """Return the credential for a request. Raises CredentialsMissing, CredentialsExpired or
        UpstreamError, always with the remedy.
        """
        if self._given is not None:
            return self._given
        refresher, login = await self._find()
        if login.expires_within(0, self._now()):
            await refresher.renew(login)
        elif login.expires_within(EARLY_SECONDS, self._now()):
            refresher.renew_soon(login)
        return authorization_of(refresher)

    async def on_unauthorized(self, refused: Authorization) -> Authorization | None:
        """After a 401: another credential to try once, or None when there can be none. Raises like
        `authorize`.
        """
        if self._given is not None:
            return None
        refresher, login = await self._find(fresh=True)
        # Other headers mean that some process has renewed the login since the refused request was
        # sent; they are worth a try as they are.
        if authorization_of(refresher).headers == refused.headers:
            # No renewal cures a refused API key, nor a token that is only seconds old.
            if login.billed_to == "api_key" or refresher.was_just_written():
                return None
            await refresher.renew(login)
        return authorization_of(refresher)

    async def renew(self) -> CredentialState:
        """Exchange the login in use now, whatever time the login has left. Raises like
        `authorize`.
        """
        if self._given is not None:
            return await self.describe()
        refresher, login = await self._find(fresh=True)
        if login.billed_to == "subscription":
            await refresher.renew(login)
        return await self.describe()

    async def login(self) -> Login | None:
        """The login in use; None when a configured credential is used instead. Raises
        CredentialsMissing.
        """
        return None if self._given is not None else (await self._find(fresh=True))[1]

    async def describe(self) -> CredentialState:
        if self._given is not None:
            kind = "API key" if self._given.billed_to == "api_key" else "token"
            words = f"{kind} from {self._given.source}"
            return CredentialState(
                "pass", words, self._given.source, billed_to=self._given.billed_to
            )
        try:
            refresher, login = await self._find(fresh=True)
        except CredentialsMissing as error:
            return CredentialState("warn", error.message)
        return describe_login(login, refresher, self.tokens.skew, self._now())

    async def _find(self, *, fresh: bool = False) -> tuple[Refresher, Login]:
        """The first login that serves or can be made to; else the first there is. Raises
        CredentialsMissing.
        """
        while True:
            second_best = None
            for refresher in self._refreshers:
                if refresher.file is self._keychain:
                    await self._keychain.look()
                login = refresher.login(fresh=fresh)
                if login is None:
                    continue
                if not login.expires_within(0, self._now()) or not refresher.obstacle(login):
                    return refresher, login
                second_best = second_best or (refresher, login)
            if any(refresher.file.is_torn for refresher in self._refreshers):
                # Another program is just writing a login.
                await asyncio.sleep(TORN_LOOK_SECONDS)
            elif fresh:
                break
            # Before anybody is refused the files are read once more, without the pause between
            # looks: a login may have come within this second.
            fresh = True
        if second_best is None:
            files = [refresher.file for refresher in self._refreshers]
            looked = "; ".join(f"{file.path} {file.problem or 'holds no login'}" for file in files)
            todo = f"{self.issuer.fix}, or {self.issuer.instead}"
            raise CredentialsMissing(
                f"No {self.issuer.title} credentials were found ({looked}): {todo}."
            )
        return second_best


def authorization_of(refresher: Refresher) -> Authorization:
    authorization = refresher.authorization()
    if authorization is None:
        raise CredentialsMissing(f"The login in {refresher.file.path} is gone.")
    return authorization


def describe_login(login: Login, refresher: Refresher, skew: float, now: float) -> CredentialState:
    source = str(refresher.file.path)
    plan = (
        "API key"
        if login.billed_to == "api_key"
        else f"{login.subscription or 'subscription'} login"
    )
    facts: dict[str, Any] = {
        "expires_at": login.expires_at,
        "subscription": login.subscription,
        "billed_to": login.billed_to,
    }
    if login.billed_to == "api_key":
        return CredentialState("pass", f"{plan} from {source}", source, **facts)
    obstacle = refresher.obstacle(login)
    expired = login.expires_within(0, now)
    words = [f"{plan} from {source}, {lifetime(login, expired=expired)}"]
    # A lasting token has no refresh token, and that is no trouble
    if obstacle and (login.refresh_token or expired):
        words.append(f"it cannot be renewed: {obstacle}")
    elif refresher.failure is not None:
        words.append(f"the last renewal failed: {refresher.failure}")
    elif expired:
        words.append("the next request renews it")
    if abs(skew) > SKEW_WORTH_TELLING_SECONDS:
        words.append(
            f"this machine's clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead'}; set "
            "it right"
        )
    unsure = login.expires_at is None and bool(login.refresh_token)
    troubled = len(words) > 1 and words[-1] != "the next request renews it"
    status = "fail" if expired and obstacle else "warn" if troubled or unsure else "pass"
    renewal = renewal_of(login, refresher, obstacle)
    return CredentialState(
        status, "; ".join(words), source, renewable=not obstacle, renewal=renewal, **facts
    )


def renewal_of(login: Login, refresher: Refresher, obstacle: str) -> Renewal:
    """Return the way in which a subscription's login gets a successor; `obstacle` as in
    `Refresher`.
    """
    if not login.refresh_token:
        return "none"
    if refresher.is_refused:
        return "refused"
    if obstacle:
        return "others"
    return "failing" if refresher.failing_seconds >= FAILING_SECONDS else "ours"


def lifetime(login: Login, *, expired: bool) -> str:
    if login.expires_at is None:
        return "without a date of expiry"
    until = minute_in_utc(login.expires_at)
    return f"expired {until}" if expired else f"valid until {until}"
