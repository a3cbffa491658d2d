"""A key that pays alerts once in each window of the subscription."""

from __future__ import annotations

from permission_service.alerts.alert import Alert, AlertKind, Condition
from permission_service.alerts.keys import decide_keys
from shared.accounts.used_up import CREEP_SECONDS, UsedUpWindow, UsedUpWindows

NOW = 1_700_000_000.0
FIVE_HOURS = 5 * 3600.0


class Keys:
    def __init__(self) -> None:
        self.conditions: dict[tuple[AlertKind, str], Condition] = {}
        self.now = NOW

    def see(
        self, *, until: float = NOW + FIVE_HOURS, models: str = "", paid_at: float = NOW
    ) -> list[Alert]:
        window = UsedUpWindow(until, "5h", models, "account", NOW, paid_at)
        states = [UsedUpWindows("claude", 5.0, [window])]
        alerts = []
        for key, condition, alert in list(decide_keys(self.conditions, states, self.now)):
            self.conditions.pop(key, None)
            if condition is not None:
                self.conditions[key] = condition
            alerts += [alert] if alert else []
        return alerts


def test_a_key_that_pays_alerts_once_in_a_window() -> None:
    keys = Keys()
    assert keys.see(paid_at=0) == []
    (alert,) = keys.see()
    assert alert.title == "Claude: your API key pays now"
    assert alert.text == (
        "The 5h window of the subscription is used up until 2023-11-15 03:13 UTC. The key pays at "
        "most $5.00 a day."
    )
    assert keys.see() == []


def test_a_reset_that_creeps_is_the_same_window_and_the_next_window_alerts_again() -> None:
    keys = Keys()
    keys.see()
    assert keys.see(until=NOW + FIVE_HOURS + 60) == []
    keys.now += FIVE_HOURS
    assert len(keys.see(until=NOW + 2 * FIVE_HOURS)) == 1


def test_windows_whose_reset_is_a_guess_alert_once() -> None:
    keys = Keys()
    assert len(keys.see(until=NOW + 300)) == 1
    for minute in range(5, 200, 5):
        keys.now = NOW + minute * 60
        assert keys.see(until=keys.now + 300) == []


def test_windows_of_some_models_alert_apart() -> None:
    keys = Keys()
    assert len(keys.see()) == 1
    assert len(keys.see(models="opus")) == 1


def test_a_window_is_forgotten_an_hour_after_its_end() -> None:
    keys = Keys()
    keys.see()
    keys.now += FIVE_HOURS + CREEP_SECONDS
    assert keys.see(until=NOW) == []
    assert keys.conditions == {}
