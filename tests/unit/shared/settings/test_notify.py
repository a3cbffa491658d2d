"""The settings of notifications: guarded, and refused when a message could be read on the way."""

from __future__ import annotations

import pytest

from shared.settings.guarded import is_guarded
from shared.settings.notify import NotifySettings
from shared.settings.problems import ConfigurationError
from shared.settings.tree import Settings, load_settings

SECRET = "whsec_" + "A" * 32


def test_every_setting_of_notifications_is_guarded() -> None:
    assert all(is_guarded(Settings, ("notify", name)) for name in NotifySettings.model_fields)


def test_nothing_is_sent_unless_it_is_configured() -> None:
    settings = NotifySettings()
    assert list(settings.addresses()) == []
    assert settings.details is False


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"ntfy_topic": "a b"}, "NOTIFY__NTFY_TOPIC.*64 letters"),
        ({"ntfy_url": "ntfy.sh"}, "NOTIFY__NTFY_URL.*expected an address"),
        ({"public_url": "https://x.example/?a=b"}, "neither a query"),
        ({"quiet_hours": "22-7"}, "22:00-07:00"),
        ({"quiet_hours": "22:00-22:00"}, "22:00-07:00"),
        ({"webhook_url": "https://x.example"}, "webhook_secret"),
        ({"webhook_secret": "whsec_c2hvcnQ="}, "24 random bytes"),
        ({"webhook_secret": "A" * 44}, "expected whsec_"),
        ({"webhook_secret": "whsec_!"}, "expected whsec_"),
        (
            {"webhook_url": "http://x.example/?key=1", "webhook_secret": SECRET},
            "NOTIFY__WEBHOOK_URL.*readable to x.example",
        ),
        ({"ntfy_topic": "t", "ntfy_url": "http://x.example"}, "NOTIFY__NTFY_URL.*readable"),
        ({"public_url": "http://x.example"}, "NOTIFY__PUBLIC_URL.*readable"),
    ],
)
def test_a_setting_that_cannot_work_is_refused_by_name(
    given: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(f"NOTIFY__{name.upper()}", value)
    with pytest.raises(ConfigurationError, match=problem) as refused:
        load_settings()
    assert "key=1" not in refused.value.message


def test_a_host_of_the_owners_own_network_may_be_reached_over_http() -> None:
    settings = load_settings(
        notify={"public_url": "http://tower.lan:8000/"}, security={"provider_hosts": ["tower.lan"]}
    )
    assert settings.notify.public_url == "http://tower.lan:8000"


def test_secrets_are_masked_where_settings_are_shown() -> None:
    settings = NotifySettings.model_validate(
        {"ntfy_topic": "hidden", "webhook_url": "https://x/hidden", "webhook_secret": SECRET}
    )
    assert "hidden" not in repr(settings)
    assert SECRET not in repr(settings)


def test_alerts_are_of_every_kind_unless_some_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().notify.alerts == (
        "quota",
        "provider",
        "login",
        "budget",
        "billing",
    )
    monkeypatch.setenv("NOTIFY__ALERTS", '["login"]')
    monkeypatch.setenv("NOTIFY__ALERT_PERCENT", "95")
    chosen = load_settings().notify
    assert (chosen.alerts, chosen.alert_percent, chosen.alert_login_days) == (("login",), 95, 7)
    monkeypatch.setenv("NOTIFY__ALERTS", '["weather"]')
    with pytest.raises(ConfigurationError, match="NOTIFY__ALERTS"):
        load_settings()
