"""Each login alerts once for each thing that can befall it, whichever gateway knows of it."""

from __future__ import annotations

from permission_service.alerts.alert import Alert, AlertKind, Condition
from permission_service.alerts.logins import decide_logins
from shared.accounts.login import LoginFacts, Renewal

NOW = 1_700_000_000.0
DAY = 86_400.0


class Logins:
    def __init__(self) -> None:
        self.conditions: dict[tuple[AlertKind, str], Condition] = {}
        self.now = NOW

    def see(self, *reports: LoginFacts) -> list[Alert]:
        alerts = []
        for key, condition, alert in list(decide_logins(self.conditions, reports, 7, self.now)):
            self.conditions.pop(key, None)
            if condition is not None:
                self.conditions[key] = condition
            alerts += [alert] if alert else []
        return alerts

    def levels(self, *reports: LoginFacts) -> list[str]:
        return [alert.level for alert in self.see(*reports)]


def login(renewal: Renewal, ends_in: float = DAY, provider: str = "claude") -> LoginFacts:
    return LoginFacts(provider, renewal, NOW + ends_in)


def test_a_login_that_is_renewed_alerts_by_no_date() -> None:
    logins = Logins()
    for renewal in ("ours", "others"):
        assert logins.see(login(renewal, 60), login(renewal, -60)) == []


def test_a_login_that_nobody_renews_alerts_a_week_before_its_end_and_at_its_end() -> None:
    logins = Logins()
    lasting = login("none", 30 * DAY)
    assert logins.see(lasting) == []
    logins.now += 23 * DAY
    (ending,) = logins.see(lasting)
    assert ending.title == "Claude: the login ends soon"
    assert ending.text.endswith("Log in again: `ccproxy auth login`.")
    assert logins.see(lasting) == []
    logins.now += 7 * DAY
    assert (logins.levels(lasting), logins.levels(lasting)) == (["ended"], [])


def test_a_login_without_a_date_does_not_alert_until_it_is_refused() -> None:
    logins = Logins()
    assert logins.see(LoginFacts("codex", "none")) == []
    (refused,) = logins.see(LoginFacts("codex", "refused"))
    assert (refused.level, "auth login-openai" in refused.text) == ("refused", True)


def test_a_refusal_that_one_gateway_of_several_knows_alerts_once_also_through_its_restart() -> None:
    logins = Logins()
    assert logins.levels(login("ours"), login("refused")) == ["refused"]
    assert logins.see(login("ours"), login("ours")) == []
    assert logins.see(login("refused")) == []


def test_a_new_login_ends_the_condition_and_is_a_login_of_its_own() -> None:
    logins = Logins()
    logins.see(login("refused"))
    assert logins.see(login("refused"), login("ours", 2 * DAY)) == []
    assert logins.conditions == {}
    assert logins.levels(login("refused", 2 * DAY)) == ["refused"]


def test_a_renewal_that_fails_alerts_and_its_refusal_once_more() -> None:
    logins = Logins()
    seen = [logins.levels(login(each)) for each in ("failing", "failing", "refused", "failing")]
    assert seen == [["failing"], [], ["refused"], []]


def test_the_logins_of_two_providers_are_two_conditions() -> None:
    reports = login("refused"), login("refused", provider="codex")
    assert Logins().levels(*reports) == ["refused", "refused"]
