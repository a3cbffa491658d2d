"""How long a worker waits, as the settings say it."""

from __future__ import annotations

import pytest

from sdk_worker.process import THINKING_MARGIN_SECONDS, patience
from shared.settings import Settings


@pytest.mark.parametrize(
    ("asked", "thinking", "idle"),
    [(False, 300, 20), (True, 300, 300 + THINKING_MARGIN_SECONDS), (True, 0, None)],
    ids=["nobody is asked", "a person has their time", "a person may take for ever"],
)
def test_a_silence_is_as_long_as_it_may_be_unless_a_person_is_asked(asked, thinking, idle):
    settings = Settings(
        claude={"builtin_permissions": asked},
        security={"confirmation_timeout_seconds": thinking},
        sdk={"idle_timeout_seconds": 20, "first_byte_timeout_seconds": 7},
        _env_file=None,
    )
    assert (patience(settings).idle, patience(settings).first_byte) == (idle, 7)
