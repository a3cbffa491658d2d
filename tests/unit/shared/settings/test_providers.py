from __future__ import annotations

import pytest

from shared.settings.providers import (
    ClaudeOAuthSettings,
    ClaudeSettings,
    CodexOAuthSettings,
    CodexSettings,
    Section,
)


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
