"""The channel of what alerts are decided from besides what Redis and analytics know already: the
use of spending limits.

The publisher reports, and the permission service decides: a report may be published as often as its
publisher likes, by any number of processes.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.bus.channels import Channel

LIMIT_REPORTS = Channel("alert:limit", "when_done", max_length=1_000)


@dataclass(frozen=True, slots=True)
class LimitReport:
    """The use of a limit of a CCProxy token.

    `token` is the token's name and `limit` the limit in words, as `$5 a day`. `used` is a fraction
    (1: nothing is left), and `resets_at` the end of the limit's time in UTC seconds. A limit is
    known by its words, and its period by that end, which may creep by some minutes.
    """

    token: str
    limit: str
    used: float
    resets_at: float
