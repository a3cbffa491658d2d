"""One request's wish to be held until the limit that refuses it is reset.

A request that may be held meets the limits of its token in front of its provider, where it can
wait; any other request meets them before everything else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from shared.accounts.hold_wishes import hold_seconds
from shared.runtime.errors import ClientError

HOLD_HEADER = b"x-ccproxy-hold"


class Hold:
    """The wish of a request to wait at most `seconds`. `admit` raises SpendLimitReached while a
    limit of the request's token is used up.
    """

    def __init__(self, seconds: float, admit: Callable[[], Awaitable[None]]) -> None:
        self.seconds = seconds
        self._admit = admit
        self._is_admitted = False

    async def admit(self) -> None:
        """Admit the request by the limits of its token, once. Raises as `admit` of the
        constructor.
        """
        if not self._is_admitted:
            await self._admit()
            self._is_admitted = True


def wished_seconds(headers: dict[bytes, bytes], of_token: float) -> float:
    """Return the longest wait in seconds from the request's headers, else from the token; 0 for no
    wait. Raises ClientError for an invalid header.
    """
    given = headers.get(HOLD_HEADER)
    if given is None:
        return of_token
    try:
        return hold_seconds(given.decode("latin-1"))
    except ValueError as error:
        raise ClientError(f"x-ccproxy-hold: {error}") from None
