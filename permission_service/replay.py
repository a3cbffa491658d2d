"""Rules tried out on past permission requests: the decision on each, beside the one that was made.

Invariants: the decision is that of `Policy`, the same code that answers requests. Nothing is
answered, stored or announced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Protocol

from permission_service.decision import (
    Policy,
)
from permission_service.past import MOST_REQUESTS, PastRequest
from permission_service.rule_book import RuleBook
from shared.permissions.deciders import BY_WHAT_IS_WRITTEN
from shared.permissions.input_lines import input_line
from shared.permissions.protected import ProtectedPaths
from shared.permissions.rules import Rule
from shared.runtime.errors import ClientError
from shared.runtime.times import iso_time_or_none

USUAL_DAYS = 30.0
MOST_DAYS = 366.0
DAY_SECONDS = 86_400.0
MOST_DIFFERENCES = 500  # listed; the rest is counted
MOST_EXAMPLES = 5
INPUT_CHARACTERS = 300  # of the input of a listed request
SAME = frozenset({("allowed", "allow"), ("denied", "deny")})


class Past(Protocol):
    """The past requests, latest first."""

    def since(self, start_time: float) -> AsyncGenerator[PastRequest, None]: ...


class Replays:
    """Tries rules out on the requests of `past`. `rules` are the rules in force."""

    def __init__(
        self, past: Past, rules: RuleBook, protected: ProtectedPaths, clock: Callable[[], float]
    ) -> None:
        self._past = past
        self._rules = rules
        self._protected = protected
        self._clock = clock

    async def of_file(self, text: Any, days: Any) -> dict[str, Any]:
        """Return the decisions with `text` as the rules file, on the requests of the last `days`
        (None: USUAL_DAYS): `counts`, `differences` and `not_judged`.

        Raises ClientError, and the errors of `past`.
        """
        if not isinstance(text, str):
            raise ClientError("rules: expected the text of a rules file.")
        policy = Policy(self._rules.with_file(text), self._protected)
        start = self._clock() - _read_days(days) * DAY_SECONDS
        counts: Counter[tuple[str, bool, str]] = Counter()
        differences: list[dict[str, Any]] = []
        more = 0
        not_judged = 0
        async with aclosing(self._past.since(start)) as requests:
            async for past in requests:
                if past.ask is None:
                    not_judged += 1
                    continue
                becomes, why, rule = policy.explain(past.ask)
                outcome = past.record["outcome"]
                by_person = past.record["decided_by"] not in BY_WHAT_IS_WRITTEN
                counts[outcome, by_person, becomes] += 1
                if (outcome, becomes) in SAME or (by_person and becomes == "ask"):
                    continue
                if len(differences) == MOST_DIFFERENCES:
                    more += 1
                    continue
                differences.append(_shown(past) | {"becomes": becomes, "why": why, "by_rule": rule})
        judged = sum(counts.values())
        return {
            "since": iso_time_or_none(start),
            "judged": judged,
            "not_judged": not_judged,
            "limited": judged + not_judged >= MOST_REQUESTS,
            "counts": [
                {"outcome": outcome, "by_person": by_person, "becomes": becomes, "count": count}
                for (outcome, by_person, becomes), count in counts.most_common()
            ],
            "differences": differences,
            "more_differences": more,
        }

    async def of_rule(self, rule: Rule) -> dict[str, Any]:
        """Return the calls of the last USUAL_DAYS that `rule` would have allowed and no rule in
        force allows: `count`, the latest `examples`, and `not_judged`. Raises the errors of `past`.
        """
        policy = Policy(self._rules.with_rule(rule), self._protected)
        rule_id = rule.id
        start = self._clock() - USUAL_DAYS * DAY_SECONDS
        count = 0
        not_judged = 0
        examples: list[dict[str, Any]] = []
        async with aclosing(self._past.since(start)) as requests:
            async for past in requests:
                if past.ask is None:
                    not_judged += 1
                    continue
                ruling = policy.decide(past.ask)
                if ruling is None or not ruling.allowed or ruling.rule != rule_id:
                    continue
                count += 1
                if len(examples) < MOST_EXAMPLES:
                    examples.append(_shown(past))
        return {
            "rule": rule.describe(),
            "days": USUAL_DAYS,
            "count": count,
            "examples": examples,
            "not_judged": not_judged,
        }


def _shown(past: PastRequest) -> dict[str, Any]:
    names = ("request_id", "asked_at", "tool_name", "caller", "machine", "outcome", "decided_by")
    shown = {name: past.record[name] for name in names}
    given = past.record["input"]
    return shown | {
        "input": given[:INPUT_CHARACTERS],
        "text": input_line(given, INPUT_CHARACTERS),
    }


def _read_days(days: Any) -> float:
    if days is None:
        return USUAL_DAYS
    is_number = isinstance(days, int | float) and not isinstance(days, bool)
    if not is_number or not 0 < days <= MOST_DAYS:
        raise ClientError("days: expected a number of days, at most 366.")
    return float(days)
