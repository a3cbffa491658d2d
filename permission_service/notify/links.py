"""The notifications of each permission request, in Redis: which ways have sent one, and the digests
of its one-time links.

A link is bound to one request and one answer. It is alive while its request is pending, so an
answer, the end of the time and a withdrawal all end it.

Invariant: a digest is in Redis before the message with its link leaves, so a link on a phone works
also after a restart of this service.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from permission_service.requests import PermissionRequests, StoredRequest, what_happened
from permission_service.store import lifetime_of
from shared.bus import Bus
from shared.bus.channels import decode_payload, encode_payload
from shared.permissions.answer_links import link_digest, new_link_token
from shared.runtime.errors import Gone, NotFound

NOTIFIED_PREFIX = "permission:notified:"
LINK_ENDED = (
    "This link is used up, or its request has ended. Open /permissions/ui to see what waits."
)


@dataclass(frozen=True, slots=True)
class Notified:
    """The notifications of one request. `allow` and `deny` are digests of links; `ways` names the
    ways that have sent a message, or are about to.
    """

    request_id: str
    allow: str = ""
    deny: str = ""
    ways: list[str] = field(default_factory=list)


class LinkTokens(NamedTuple):
    """The secrets of a message's links; the service keeps only digests of the secrets."""

    allow: str
    deny: str


class AnswerLinks:
    """The notifications and links of all pending requests."""

    def __init__(self, requests: PermissionRequests, bus: Bus) -> None:
        self._requests = requests
        self._bus = bus
        self._notified: dict[str, Notified] = {}

    async def load(self) -> None:
        """Load the state of the previous process. Raises BusUnavailable."""
        for data in (await self._bus.scan(NOTIFIED_PREFIX)).values():
            found = decode_payload(Notified, data)
            self._notified[found.request_id] = found

    def has_sent(self, request_id: str, way: str) -> bool:
        """Return True when `way` has sent the message of the request, or was about to."""
        return way in self._of(request_id).ways

    def sent_by(self, way: str) -> list[str]:
        """Return the ids of the requests whose message `way` has sent, or was about to."""
        return [known.request_id for known in self._notified.values() if way in known.ways]

    async def mark(self, stored: StoredRequest, way: str, now: float) -> None:
        """Note that `way` has sent the message of `stored`, or is about to. Raises
        BusUnavailable.
        """
        known = self._of(stored.id)
        ways = [*(name for name in known.ways if name != way), way]
        await self._keep(stored, replace(known, ways=ways), now)

    async def unmark(self, stored: StoredRequest, way: str, now: float) -> None:
        """Note that the message did not leave after all. Raises BusUnavailable."""
        known = self._of(stored.id)
        ways = [name for name in known.ways if name != way]
        await self._keep(stored, replace(known, ways=ways), now)

    async def renew(self, stored: StoredRequest, now: float) -> LinkTokens:
        """Return new secrets for the links of `stored`; earlier links of it end. Raises
        BusUnavailable.
        """
        tokens = LinkTokens(new_link_token(), new_link_token())
        bound = replace(
            self._of(stored.id), allow=link_digest(tokens.allow), deny=link_digest(tokens.deny)
        )
        await self._keep(stored, bound, now)
        return tokens

    def find(self, digest: str) -> tuple[str, bool]:
        """Return the request of a link, and True for Allow. Raises Gone for a used up or unknown
        link, also after the end of the request.
        """
        for known in self._notified.values():
            if digest and digest in {known.allow, known.deny}:
                self._require_pending(known.request_id)
                return known.request_id, digest == known.allow
        raise Gone(LINK_ENDED)

    def forget_ended(self) -> None:
        """Forget the requests that the service has forgotten. The keys in Redis end by
        themselves.
        """
        gone = [known for known in self._notified if not self._requests.knows(known)]
        for request_id in gone:
            del self._notified[request_id]

    def _require_pending(self, request_id: str) -> None:
        try:
            stored = self._requests.find(request_id)
        except NotFound:
            raise Gone(LINK_ENDED) from None
        if stored.status != "pending":
            raise Gone(what_happened(stored))

    def _of(self, request_id: str) -> Notified:
        return self._notified.get(request_id) or Notified(request_id)

    async def _keep(self, stored: StoredRequest, notified: Notified, now: float) -> None:
        # In memory first: two ways of one request that change their marks at once both see the
        # other's mark, and the write that comes last holds both.
        self._notified[stored.id] = notified
        key = NOTIFIED_PREFIX + stored.id
        await self._bus.put(key, encode_payload(notified), ttl=lifetime_of(stored, now))
