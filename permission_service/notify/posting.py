"""One POST to a receiver of notifications, and its failures in words without a secret.

Addresses hold topics and keys, and bodies hold one-time links: neither is in an error. Redirections
are not followed, because they would take a link to another host.
"""

from __future__ import annotations

import httpx

from shared.runtime.version import USER_AGENT
from shared.runtime.visible_text import visible_line

SEND_SECONDS = 10.0  # for a whole exchange of one message
MAX_ANSWER = 200  # characters kept of a receiver's own words
# Refusals that a later attempt may not meet: too early, too many, and a timeout of the receiver.
PASSING = frozenset({408, 425, 429})


class SendFailed(Exception):
    """A message did not arrive. `problem` is safe to log; `answer` is the receiver's own words, for
    the owner alone. `final`: another attempt would fail as well. `status` is the receiver's, or 0.
    """

    def __init__(
        self, problem: str, *, answer: str = "", final: bool = False, status: int = 0
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.answer = answer
        self.final = final


async def post_message(url: str, body: bytes, headers: dict[str, str]) -> str:
    """Post `body` to `url` and return the outcome as `HTTP 200`. Raises SendFailed."""
    given = {"content-type": "application/json", "user-agent": USER_AGENT} | headers
    try:
        # A client for each message: messages are rare, and an open pool would hold a connection.
        async with httpx.AsyncClient(timeout=SEND_SECONDS) as client:
            answer = await client.post(url, content=body, headers=given)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        # The texts of these errors may hold the address, and with it a secret.
        raise SendFailed(f"no answer ({type(error).__name__})") from None
    problem = f"HTTP {answer.status_code}"
    if not answer.is_success:
        final = answer.status_code < 500 and answer.status_code not in PASSING
        words = visible_line(answer.text[:MAX_ANSWER])
        raise SendFailed(problem, answer=words, final=final, status=answer.status_code)
    return problem
