"""The browsers that have subscribed to messages, in Redis. Each stands for the token with which its
page was signed in.

Invariants: a browser is stored before it is used. An address is checked before it is stored and
before each use (`check_push_address`). One token has at most MOST_PER_TOKEN browsers; the one
whose page was open the longest time ago goes first. All tokens together have at most MOST.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from permission_service.notify.approving_tokens import ApprovingTokens
from shared.bus import Bus
from shared.bus.channels import decode_payload, encode_payload
from shared.permissions.deciders import BY_LOCAL, BY_OWNER
from shared.runtime.errors import BusUnavailable, ClientError, Conflict, NotFound
from shared.runtime.log import get_log
from shared.runtime.times import iso_time
from shared.runtime.visible_text import cut, visible_line
from shared.settings.push_services import check_push_address

BROWSER_PREFIX = "permission:browser:"
# Redis keeps nothing without an end. Every start and every renewal by the page begins it anew.
BROWSER_SECONDS = 366 * 86_400.0
MOST_PER_TOKEN = 8
MOST = 64
ID_CHARACTERS = 32  # of a SHA-256 in hex
MAX_USER_AGENT = 60  # characters shown of a browser's own name, when it is none of those below
SEES_ALL = frozenset({BY_OWNER, BY_LOCAL})
# A part of the `User-Agent` header, and the name for people. Order counts: Edge names Chrome too,
# and Chrome names Safari.
PROGRAMS = (
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("CriOS/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)


@dataclass(frozen=True, slots=True)
class Browser:
    """A subscribed browser. `endpoint`, `p256dh` and `auth` are the subscription, `sender` is the
    public key bound to the subscription. `token` is the name and `digest` the SHA-256 of the token;
    `page` is the origin of the subscribing page. At `renewed_at`, in UTC seconds, the page has sent
    the subscription last.
    """

    endpoint: str
    p256dh: str
    auth: str
    sender: str
    token: str
    digest: str
    page: str
    program: str
    renewed_at: float

    @property
    def id(self) -> str:
        """Return the browser's id. The page computes the same id."""
        return browser_id(self.endpoint)

    @property
    def name(self) -> str:
        """Return the browser for people: the token and the program."""
        return f"{self.token} ({self.program})"

    def show(self) -> dict[str, Any]:
        """Return the browser for people, without the keys for a sender."""
        service = urlsplit(self.endpoint).hostname or ""
        return {
            "id": self.id,
            "token": self.token,
            "program": self.program,
            "service": service,
            "renewed_at": iso_time(self.renewed_at),
        }


class Subscriber(NamedTuple):
    """A subscribing page: the name and the SHA-256 of the token, the origin, and the `User-Agent`
    of the browser.
    """

    token: str
    digest: str
    page: str
    user_agent: str


class Browsers:
    """The subscribed browsers. `named_hosts` are more hosts of push services. Call `load` before
    use.
    """

    def __init__(
        self,
        bus: Bus,
        tokens: ApprovingTokens,
        clock: Callable[[], float],
        named_hosts: list[str],
    ) -> None:
        self._bus = bus
        self._tokens = tokens
        self._clock = clock
        self._named_hosts = named_hosts
        self._known: dict[str, Browser] = {}

    async def load(self) -> None:
        """Load the browsers of the previous process, and begin their lifetimes anew. Raises
        BusUnavailable.
        """
        for data in (await self._bus.scan(BROWSER_PREFIX)).values():
            await self._keep(decode_payload(Browser, data))

    def all(self) -> list[Browser]:
        """Return the browsers whose token is in force, oldest renewal first."""
        now = self._clock()
        found = [known for known in self._known.values() if self._is_in_force(known, now)]
        return sorted(found, key=lambda browser: browser.renewed_at)

    async def add(self, subscription: dict[str, Any], sender: str, by: Subscriber) -> Browser:
        """Store the browser with `subscription`, in the shape of `toJSON` and with checked keys.
        The same address again replaces the browser.

        Raises ClientError for an address that is none, Conflict without room, BusUnavailable.
        """
        keys = subscription["keys"]
        try:
            endpoint = check_push_address(str(subscription["endpoint"]), self._named_hosts)
        except ValueError as error:
            raise ClientError(f"endpoint: {error}.") from error
        browser = Browser(
            endpoint,
            str(keys["p256dh"]),
            str(keys["auth"]),
            sender,
            by.token,
            by.digest,
            by.page,
            browser_program(by.user_agent),
            self._clock(),
        )
        await self.forget_ended()
        await self._make_room(browser)
        await self._keep(browser)
        return browser

    async def remove(self, browser_id: str, by: str) -> None:
        """Forget the browser, on the demand of the caller `by`: its own token, or the owner.

        Raises NotFound, BusUnavailable.
        """
        known = self._known.get(browser_id)
        if known is None or (known.token != by and by not in SEES_ALL):
            raise NotFound("There is no such browser.")
        await self._forget(known)

    def seen_by(self, by: str) -> list[Browser]:
        """Return the browsers visible to the caller `by`: the browsers of the caller's token, or
        all for the owner.
        """
        return [known for known in self.all() if known.token == by or by in SEES_ALL]

    async def forget_gone(self, browser: Browser) -> None:
        """Forget a browser reported gone by the push service."""
        with contextlib.suppress(BusUnavailable):
            await self._forget(browser)
        get_log().info("browser_gone", browser=browser.name)

    async def forget_ended(self) -> None:
        """Forget the browsers with a token no longer in force or an address no longer permitted."""
        now = self._clock()
        ended = [known for known in self._known.values() if not self._is_in_force(known, now)]
        for browser in ended:
            # Without Redis it is tried again at the next look; until then nothing is sent to it.
            with contextlib.suppress(BusUnavailable):
                await self._forget(browser)
                get_log().info("browser_forgotten", browser=browser.name)

    def _is_in_force(self, browser: Browser, now: float) -> bool:
        try:
            check_push_address(browser.endpoint, self._named_hosts)
        except ValueError:
            return False
        return self._tokens.allows(browser.digest, now)

    async def _make_room(self, browser: Browser) -> None:
        others = [known for known in self._known.values() if known.id != browser.id]
        own = sorted(self._of_token(others, browser), key=lambda known: known.renewed_at)
        for oldest in own[: max(0, len(own) - MOST_PER_TOKEN + 1)]:
            await self._forget(oldest)
            others.remove(oldest)
        if len(others) >= MOST:
            raise Conflict(
                f"{MOST} browsers have subscribed already; `ccproxy notify browsers` shows them."
            )

    def _of_token(self, among: list[Browser], browser: Browser) -> Iterator[Browser]:
        return (known for known in among if known.token == browser.token)

    async def _keep(self, browser: Browser) -> None:
        await self._bus.put(
            BROWSER_PREFIX + browser.id, encode_payload(browser), ttl=BROWSER_SECONDS
        )
        self._known[browser.id] = browser

    async def _forget(self, browser: Browser) -> None:
        # Deleted from Redis first: a browser that is gone must not come back with a restart.
        await self._bus.delete(BROWSER_PREFIX + browser.id)
        self._known.pop(browser.id, None)


def browser_id(endpoint: str) -> str:
    """Return the id of the browser with the address `endpoint`."""
    return hashlib.sha256(endpoint.encode()).hexdigest()[:ID_CHARACTERS]


def browser_program(user_agent: str) -> str:
    """Return a `User-Agent` header for people, as `Chrome on Android`."""
    program = next((name for mark, name in PROGRAMS if mark in user_agent), "")
    system = next((name for mark, name in SYSTEMS if mark in user_agent), "")
    if program and system:
        return f"{program} on {system}"
    return cut(visible_line(user_agent), MAX_USER_AGENT) or "a browser"
