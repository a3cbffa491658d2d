"""What an alert is, and the condition that it is about. Pure.

A condition is known by its kind and subject, and belongs to one period: the window of a
subscription, the life of a login, the time of a limit. Within a period its level only rises, and
each level is one alert, so nothing that goes up and down alerts twice.

Invariant: an alert's id follows from its kind, subject, level and period alone. The same alert,
decided again after everything was lost, has the id that receivers know.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from shared.settings.notify import AlertKind

ID_CHARACTERS = 32  # of a SHA-256 in hex; ntfy takes ids of up to 64 characters

# The names of providers in alerts, by the names of access records.
PROVIDERS = {"claude": "Claude", "codex": "Codex", "sdk": "Claude Code (/sdk)"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A state that alerts are about. `period` names the period (UTC seconds of the end or begin),
    and `ends_at` is the time from which the condition is over by itself; 0 for none.

    `seen_at` is the last time at which the condition was seen, and `alert_id` its latest alert.
    """

    kind: AlertKind
    subject: str
    level: str
    period: float
    ends_at: float = 0.0
    seen_at: float = 0.0
    alert_id: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """A message to the owner, decided once. `after` is the id of an earlier alert whose end this
    alert reports, or empty. `ways` names the ways that have sent the alert, or are about to.
    """

    id: str
    kind: AlertKind
    subject: str
    level: str
    title: str
    text: str
    at: float
    quiet: bool = False
    after: str = ""
    ways: list[str] = field(default_factory=list)


class Decision(NamedTuple):
    """The new state of the condition `key` (kind and subject), or None when the condition is over;
    and the alert for the change, or None.
    """

    key: tuple[AlertKind, str]
    condition: Condition | None
    alert: Alert | None = None


class Words(NamedTuple):
    """The title and the text of an alert, without a path and without a secret."""

    title: str
    text: str


def alert_id(kind: str, subject: str, level: str, period: float) -> str:
    """Return the id of an alert, the same whenever the same alert is decided."""
    named = f"{kind}\n{subject}\n{level}\n{period:.0f}"
    return f"alert-{hashlib.sha256(named.encode()).hexdigest()[:ID_CHARACTERS]}"


def raised(condition: Condition, words: Words, now: float) -> Decision:
    """Return the decision to alert of `condition`, at the level just reached."""
    kind = condition.kind
    subject = condition.subject
    level = condition.level
    named = alert_id(kind, subject, level, condition.period)
    alert = Alert(named, kind, subject, level, words.title, words.text, now)
    return Decision((kind, subject), replace(condition, alert_id=named), alert)


def ended(condition: Condition, level: str, words: Words, now: float) -> Decision:
    """Return the decision that ends `condition` with a quiet alert of `level`."""
    kind = condition.kind
    subject = condition.subject
    named = alert_id(kind, subject, level, condition.period)
    alert = Alert(
        named,
        kind,
        subject,
        level,
        words.title,
        words.text,
        now,
        quiet=True,
        after=condition.alert_id,
    )
    return Decision((kind, subject), None, alert)
