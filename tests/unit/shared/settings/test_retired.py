from __future__ import annotations

from pathlib import Path

import pytest

from shared.settings.problems import leaves, name_of
from shared.settings.retired import RETIRED, retired_advice
from shared.settings.tree import Settings

UPGRADE = Path(__file__).parents[4] / "docs/upgrade.md"


def test_nothing_that_is_a_setting_is_called_retired():
    assert not [name_of(path) for path, _ in leaves(Settings) if retired_advice(name_of(path))]


@pytest.mark.parametrize(
    "name", ["CORS__ORIGINS", "SCHEDULER", "CLAUDE__SDK_SESSION_POOL__ENABLED"]
)
def test_what_is_below_a_retired_name_is_retired_too(name):
    assert retired_advice(name)


def test_the_upgrade_page_tells_the_fate_of_every_retired_setting():
    text = UPGRADE.read_text()
    assert not [name for name in RETIRED if name not in text]
