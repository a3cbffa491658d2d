"""A limit alerts once when much of it is used and once when it is reached, in each of its periods."""

from __future__ import annotations

from permission_service.alerts.alert import Alert, AlertKind, Condition
from permission_service.alerts.limits import decide_limit
from shared.bus.alerts import LimitReport

NOW = 1_700_000_000.0
DAY = 86_400.0


class Limits:
    def __init__(self) -> None:
        self.conditions: dict[tuple[AlertKind, str], Condition] = {}
        self.now = NOW

    def see(self, used: float, *, token: str = "ci", resets_at: float = NOW + DAY) -> list[Alert]:
        use = LimitReport(token, "$5 a day", used, resets_at)
        alerts = []
        for key, condition, alert in list(decide_limit(self.conditions, use, 0.8, self.now)):
            self.conditions.pop(key, None)
            if condition is not None:
                self.conditions[key] = condition
            alerts += [alert] if alert else []
        return alerts


def test_each_level_of_a_limit_alerts_once_in_a_period() -> None:
    limits = Limits()
    seen = [[alert.level for alert in limits.see(used)] for used in (0.1, 0.8, 0.85, 1.2, 0.9, 1.3)]
    assert seen == [[], ["near"], [], ["reached"], [], []]


def test_the_next_period_is_another_one_and_a_late_report_of_the_last_one_is_void() -> None:
    limits = Limits()
    assert len(limits.see(0.9)) == 1
    limits.now += DAY
    assert limits.see(0.95) == []
    (alert,) = limits.see(0.9, resets_at=NOW + 2 * DAY)
    assert alert.title == "Token ci: its limit is used to 90%"
    assert alert.text == "Limit: $5 a day. It begins anew at 2023-11-16 22:13 UTC."


def test_an_end_that_creeps_is_the_same_period_and_an_early_new_one_is_another() -> None:
    limits = Limits()
    assert len(limits.see(0.9)) == 1
    assert limits.see(0.9, resets_at=NOW + DAY + 60) == []
    limits.now = NOW + DAY + 30
    assert limits.see(0.9, resets_at=NOW + DAY + 60) == []
    assert len(limits.see(0.9, resets_at=NOW + 2 * DAY)) == 1


def test_the_limits_of_tokens_are_apart_and_are_forgotten_after_their_time() -> None:
    limits = Limits()
    assert len(limits.see(0.9)) == 1
    assert len(limits.see(0.9, token="laptop")) == 1
    limits.now += DAY
    limits.see(0.1, token="laptop", resets_at=NOW + 2 * DAY)
    assert [key for key in limits.conditions if key[1].startswith("ci")] == []
