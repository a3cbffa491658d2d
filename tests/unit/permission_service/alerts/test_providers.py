"""A provider that fails is one alert and one recovery, however often it comes and goes."""

from __future__ import annotations

from typing import Any

from permission_service.alerts.alert import Alert, AlertKind, Condition
from permission_service.alerts.providers import ProviderOutcomes, decide_providers

CALM = 600.0
Conditions = dict[tuple[AlertKind, str], Condition]


class Stack:
    """The conditions of providers, and a clock that goes on by fifteen seconds a look."""

    def __init__(self) -> None:
        self.conditions: Conditions = {}
        self.now = 1_700_000_000.0

    def see(self, *outcomes: ProviderOutcomes) -> list[Alert]:
        alerts = []
        for key, condition, alert in list(
            decide_providers(self.conditions, list(outcomes), CALM, self.now)
        ):
            self.conditions.pop(key, None)
            if condition is not None:
                self.conditions[key] = condition
            alerts += [alert] if alert else []
        self.now += 15.0
        return alerts

    def failing(self, **more: Any) -> ProviderOutcomes:
        facts: dict[str, Any] = {"level": "fail", "error_kind": "upstream"} | more
        return ProviderOutcomes("claude", 20, 12, last_failure=self.now, **facts)

    def well(self) -> ProviderOutcomes:
        return ProviderOutcomes("claude", 20, 8, "pass", last_failure=1.0, last_success=self.now)


def test_a_provider_that_still_fails_at_the_second_look_alerts_once() -> None:
    stack = Stack()
    seen = [stack.see(stack.failing()) for _ in range(20)]
    assert [len(alerts) for alerts in seen] == [0, 1, *[0] * 18]
    assert seen[1][0].title == "Claude fails"
    assert seen[1][0].text == "12 of its last 20 requests failed, most of them with: upstream."


def test_a_provider_that_fails_for_a_moment_alerts_nobody() -> None:
    stack = Stack()
    for _ in range(10):
        assert stack.see(stack.failing()) == []
        assert stack.see(stack.well()) == []


def test_a_recovery_is_reported_once_and_only_after_it_has_lasted() -> None:
    stack = Stack()
    stack.see(stack.failing())
    stack.see(stack.failing())
    failed_at = stack.now
    levels = []
    while not levels:
        levels = [alert.level for alert in stack.see(stack.well())]
    assert (levels, stack.now - failed_at >= CALM) == (["recovered"], True)
    assert stack.see(stack.well()) == []


def test_a_provider_that_comes_and_goes_stays_one_failure() -> None:
    stack = Stack()
    alerts = []
    for _ in range(200):
        alerts += stack.see(stack.failing()) + stack.see(stack.failing())
        alerts += stack.see(stack.well())
    assert [alert.level for alert in alerts] == ["failing"]


def test_a_provider_that_nobody_asks_has_not_recovered() -> None:
    stack = Stack()
    stack.see(stack.failing())
    stack.see(stack.failing())
    stack.now += 2 * CALM
    silent = ProviderOutcomes("claude", 3, 3, "fail", "upstream", last_failure=1.0)
    assert stack.see(silent) == []
    assert (stack.see(), stack.conditions) == ([], {})


def test_refusals_of_our_own_and_of_a_used_up_window_are_no_failure_of_the_provider() -> None:
    stack = Stack()
    for kind in ("quota", "spend_limit", "stopping", "stopping"):
        assert stack.see(stack.failing(error_kind=kind)) == []
    assert stack.conditions == {}
    window: tuple[AlertKind, str] = ("quota", "claude 5h")
    stack.conditions[window] = Condition(*window, "gone", 0.0)
    for _ in range(3):
        assert stack.see(stack.failing(error_kind="rate_limit_error")) == []
