"""An alert's id is the same whenever the same alert is decided, and short enough for its receivers."""

from __future__ import annotations

import re

from permission_service.alerts.alert import Condition, Words, alert_id, ended, raised


def test_the_id_of_an_alert_follows_from_its_condition_alone() -> None:
    assert alert_id("quota", "claude 5h", "near", 10.2) == alert_id(
        "quota", "claude 5h", "near", 10.4
    )
    others = {
        alert_id(*facts)
        for facts in (
            ("quota", "claude 5h", "near", 10.0),
            ("quota", "claude 5h", "gone", 10.0),
            ("quota", "claude 7d", "near", 10.0),
            ("budget", "claude 5h", "near", 10.0),
            ("quota", "claude 5h", "near", 99.0),
        )
    }
    assert len(others) == 5


def test_the_id_of_an_alert_about_any_name_is_one_that_ntfy_takes() -> None:
    assert re.fullmatch(r"[-\w]{1,64}", alert_id("budget", "a name: $5 a day\n✓", "near", 1.0))


def test_an_end_is_a_quiet_alert_that_names_the_alert_of_its_beginning() -> None:
    begun = raised(Condition("quota", "claude 5h", "gone", 10.0), Words("a", "b"), 1.0)
    assert begun.condition is not None
    assert begun.alert is not None
    over = ended(begun.condition, "back", Words("c", ""), 2.0)
    assert over.condition is None
    assert over.alert is not None
    assert (over.alert.quiet, over.alert.after) == (True, begun.alert.id)
