"""How long a worker waits, as the settings say it."""

from __future__ import annotations

import pytest

from sdk_worker.process import THINKING_MARGIN_SECONDS, timeouts
from shared.settings.tree import Settings


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(
    ("thinking", "asking"),
    [(300, 300 + THINKING_MARGIN_SECONDS), (0, None)],
    ids=["a person has their time", "a person may take for ever"],
)
def test_only_an_open_permission_request_makes_a_long_silence_one_to_wait_for(
    asked, thinking, asking
):
    settings = Settings(
        claude={"builtin_permissions": asked},
        security={"confirmation_timeout_seconds": thinking},
        sdk={"idle_timeout_seconds": 20, "first_byte_timeout_seconds": 7},
        _env_file=None,
    )
    found = timeouts(settings)
    assert (found.idle, found.first_byte, found.asking) == (20, 7, asking)
