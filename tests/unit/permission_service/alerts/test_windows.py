"""A window alerts once when much of it is used and once when it is used up, and tells its end only
after it was used up.
"""

from __future__ import annotations

from typing import Any

from permission_service.alerts.alert import Alert, AlertKind, Condition
from permission_service.alerts.windows import decide_windows, is_used_up
from shared.accounts.quota import Quota, Window

NOW = 1_700_000_000.0
HOUR = 3600.0


class Account:
    """The conditions of one subscription, and its alerts so far."""

    def __init__(self) -> None:
        self.conditions: dict[tuple[AlertKind, str], Condition] = {}
        self.now = NOW

    def see(self, *windows: Window, provider: str = "claude", **quota: Any) -> list[Alert]:
        quotas = [Quota(provider, self.now, list(windows), **quota)] if windows else []
        alerts = []
        for key, condition, alert in list(decide_windows(self.conditions, quotas, 0.8, self.now)):
            self.conditions.pop(key, None)
            if condition is not None:
                self.conditions[key] = condition
            alerts += [alert] if alert else []
        return alerts

    def levels(self, *windows: Window, **quota: Any) -> list[str]:
        return [alert.level for alert in self.see(*windows, **quota)]


def window(used: float, *, resets_in: float = HOUR, name: str = "5h", **more: Any) -> Window:
    return Window(name, used, 5 * HOUR, NOW + resets_in, **more)


def test_each_level_of_a_window_alerts_once_however_the_use_moves() -> None:
    account = Account()
    seen = [account.levels(window(used)) for used in (0.5, 0.79, 0.8, 0.79, 0.85, 1.0, 0.9, 1.0)]
    assert seen == [[], [], ["near"], [], [], ["gone"], [], []]


def test_a_window_that_jumps_to_its_end_is_one_alert() -> None:
    assert Account().levels(window(1.0)) == ["gone"]


def test_a_refused_window_is_used_up_whatever_part_is_used() -> None:
    assert Account().levels(window(0.3, status="rejected")) == ["gone"]
    assert Account().levels(window(0.3, status="rejected", resets_in=-1)) == []


def test_every_window_has_alerts_of_its_own() -> None:
    account = Account()
    alerts = account.see(window(0.9), window(0.9, name="7d_opus"))
    assert [alert.subject for alert in alerts] == ["claude 5h", "claude 7d_opus"]
    assert alerts[1].title == "Claude: the 7d opus window is used to 90%"
    assert alerts[0].text.startswith("It resets at 2023-11-14 23:13 UTC.")


def test_a_reset_that_creeps_is_the_same_window_and_a_jump_is_another() -> None:
    account = Account()
    assert account.levels(window(0.9)) == ["near"]
    assert account.levels(window(0.9, resets_in=2 * HOUR)) == []
    account.now += 1.5 * HOUR
    assert account.levels(window(0.9, resets_in=2 * HOUR)) == []
    later = window(0.9, resets_in=7 * HOUR)
    assert [account.levels(later), account.levels(later)] == [[], ["near"]]


def test_a_used_up_window_reports_its_reset_once_and_quietly_also_when_nobody_reports_it() -> None:
    account = Account()
    account.see(window(1.0))
    account.now += HOUR
    (back,) = account.see()
    assert (back.level, back.quiet) == ("back", True)
    assert back.title == "Claude: the 5h window has begun anew"
    assert (account.see(), account.conditions) == ([], {})


def test_a_window_that_was_not_used_up_ends_without_an_alert() -> None:
    account = Account()
    account.see(window(0.9))
    account.now += HOUR
    assert (account.see(), account.conditions) == ([], {})


def test_a_reset_that_comes_early_is_reported() -> None:
    account = Account()
    account.see(window(1.0))
    assert account.levels(window(0.0, resets_in=5 * HOUR)) == ["back"]


def test_paid_extra_usage_is_named_in_the_alert() -> None:
    (alert,) = Account().see(window(1.0), extra_usage=True)
    assert alert.text.startswith("Extra usage is being paid for.")


def test_a_used_up_subscription_is_known_also_behind_the_workers() -> None:
    account = Account()
    account.see(window(1.0))
    providers = ("claude", "sdk", "codex")
    assert [is_used_up(account.conditions, each) for each in providers] == [True, True, False]
