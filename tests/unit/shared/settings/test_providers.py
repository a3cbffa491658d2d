from __future__ import annotations

import pytest

from shared.settings.problems import ConfigurationError
from shared.settings.providers import (
    ClaudeOAuthSettings,
    ClaudeSettings,
    CodexOAuthSettings,
    CodexSettings,
    Section,
)
from shared.settings.tree import load_settings


@pytest.mark.parametrize(
    ("section", "field"),
    [
        (ClaudeSettings, "base_url"),
        (ClaudeOAuthSettings, "token_url"),
        (ClaudeOAuthSettings, "authorize_url"),
        (CodexSettings, "base_url"),
        (CodexSettings, "api_base_url"),
        (CodexOAuthSettings, "base_url"),
    ],
)
def test_every_address_that_gets_a_credential_is_checked(
    section: type[Section], field: str
) -> None:
    section.model_validate({field: "https://stand-in.example/x"})
    with pytest.raises(ValueError, match="user name or password"):
        section.model_validate({field: "https://user:pass@stand-in.example"})


def test_a_misspelt_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="base_ulr"):
        ClaudeSettings.model_validate({"base_ulr": "https://x"})


@pytest.mark.parametrize("name", ["claude", "codex"])
@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"when_used_up": {"api_key": "k"}}, "set both API_KEY and USD_PER_DAY"),
        ({"when_used_up": {"usd_per_day": 5}}, "set both API_KEY and USD_PER_DAY"),
        ({"when_used_up": {"api_key": "k", "usd_per_day": 0}}, "must be more than 0"),
        (
            {"api_key": "all", "when_used_up": {"api_key": "k", "usd_per_day": 5}},
            "__API_KEY already pays for every request",
        ),
    ],
)
def test_a_key_for_used_up_windows_has_a_limit_and_is_the_only_key(
    name: str, section: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        load_settings(**{name: section})


def test_a_key_for_used_up_windows_is_off_and_secret() -> None:
    assert not load_settings().claude.when_used_up.is_armed
    spare = {"api_key": "sk-hidden", "usd_per_day": 5}
    settings = load_settings(claude={"when_used_up": spare})
    assert settings.claude.when_used_up.is_armed
    assert "sk-hidden" not in repr(settings)
