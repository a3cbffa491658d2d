from __future__ import annotations

import pytest

from ccproxy.cli.shown import value_text, values
from shared.settings.tree import Settings


def test_secrets_and_the_passwords_in_addresses_are_masked() -> None:
    secret = "pa55-word"
    settings = Settings.model_validate(
        {
            "redis": {"url": f"redis://:{secret}@host"},
            "security": {"auth_token": secret, "tokens": [{"name": "tool", "token": secret}]},
            "claude": {"api_key": secret},
            "observability": {
                "pushgateway_url": f"http://me:{secret}@push",
                "otlp_endpoint": f"https://me:{secret}@otlp",
                "prices_url": f"https://{secret}@prices",
            },
        }
    )
    shown = values(settings)
    assert secret not in repr(shown)
    assert shown["OBSERVABILITY__PUSHGATEWAY_URL"] == "http://****@push"


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), ("x", "x"), (1, "1"), (["ä"], '["ä"]'), (True, "true")]
)
def test_a_value_is_shown_as_it_is_written(value: object, text: str) -> None:
    assert value_text(value) == text
