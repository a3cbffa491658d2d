"""Alerts of logins: of one that nobody renews and that ends soon or has ended, of one whose renewal
fails, and of one whose renewal was refused. Pure.

A login that another program renews (it lies in a keychain, or in a file that CCProxy cannot write)
alerts by no date: that program renews it when it runs. A login is known by its end, so a new login
is another condition.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from permission_service.alerts.alert import PROVIDERS, Condition, Decision, Words, raised
from permission_service.alerts.windows import Conditions
from shared.accounts.login import LoginFacts, Renewal
from shared.runtime.times import UNIT_SECONDS, minute_in_utc

ENDING = "ending"
FAILING = "failing"
ENDED = "ended"
REFUSED = "refused"
RANK = {"": 0, ENDING: 1, FAILING: 2, ENDED: 3, REFUSED: 3}
# Of several gateways, the one that tried in vain knows the most.
WORST: dict[Renewal, int] = {"ours": 0, "others": 0, "none": 1, "failing": 2, "refused": 3}
LOG_IN = {"claude": "`ccproxy auth login`", "codex": "`ccproxy auth login-openai`"}


def decide_logins(
    conditions: Conditions, reports: Iterable[LoginFacts], days: float, now: float
) -> Iterator[Decision]:
    """Yield the decisions on the logins of `reports` from several gateways. A login that nobody
    renews alerts `days` before the end.
    """
    by_provider: dict[str, list[LoginFacts]] = {}
    for report in reports:
        by_provider.setdefault(report.provider, []).append(report)
    for provider, found in by_provider.items():
        # A gateway that has not read the file again still reports the login of before.
        latest = max(report.expires_at for report in found)
        facts = max(
            (report for report in found if report.expires_at == latest),
            key=lambda report: WORST[report.renewal],
        )
        known = conditions.get(("login", provider))
        if (decision := _on_login(known, facts, days, now)) is not None:
            yield decision


def _on_login(
    known: Condition | None, facts: LoginFacts, days: float, now: float
) -> Decision | None:
    level = _level(facts, days, now)
    if known is not None and known.period != facts.expires_at:
        if not level:
            return Decision(("login", facts.provider), None)
        known = None
    if known is None:
        known = Condition("login", facts.provider, "", facts.expires_at)
    if RANK[level] <= RANK[known.level]:
        return None
    return raised(replace(known, level=level), _words(level, facts), now)


def _level(facts: LoginFacts, days: float, now: float) -> str:
    if facts.renewal == "refused":
        return REFUSED
    if facts.renewal == "failing":
        return FAILING
    if facts.renewal != "none" or not facts.expires_at:
        return ""
    if facts.expires_at <= now:
        return ENDED
    return ENDING if facts.expires_at - now <= days * UNIT_SECONDS["d"] else ""


def _words(level: str, facts: LoginFacts) -> Words:
    login = f"{PROVIDERS.get(facts.provider, facts.provider)}: the login"
    again = f"Log in again: {LOG_IN.get(facts.provider, '`ccproxy auth login`')}."
    until = minute_in_utc(facts.expires_at) if facts.expires_at else ""
    match level:
        case "refused":
            return Words(f"{login} was refused", f"Its renewal was refused. {again}")
        case "failing":
            text = (
                "CCProxy tries again with the next request; `ccproxy auth status` has the reason."
            )
            return Words(f"{login} cannot be renewed", text)
        case "ended":
            return Words(f"{login} has ended", f"It ended at {until}. {again}")
        case _:
            return Words(f"{login} ends soon", f"It ends at {until}, and is not renewed. {again}")
