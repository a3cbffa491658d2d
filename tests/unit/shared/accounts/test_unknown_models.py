"""A refusal of an unknown or retired model is told from every other refusal by the
vendor's words.
"""

from __future__ import annotations

import pytest

from shared.accounts.unknown_models import is_unknown_model, unknown_model_hint

REFUSALS = [
    (404, "model: claude-3-5-sonnet-20241022"),
    (400, "The 'gpt-5' model is not supported when using Codex with a ChatGPT account."),
    (404, "The model 'gpt-4' does not exist or you do not have access to it."),
    (404, "The model `gpt-4` has been deprecated, learn more here."),
]


@pytest.mark.parametrize(("status", "message"), REFUSALS)
def test_a_vendors_words_for_an_unknown_model_are_known(status: int, message: str) -> None:
    assert is_unknown_model(status, message)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (404, "Not Found"),
        (404, "model: not available"),
        (400, "model: Field required"),
        (400, "temperature: not supported by this model"),
        (429, "The model 'gpt-4' does not exist"),
        (200, "model: claude-x"),
    ],
)
def test_other_refusals_get_no_hint(status: int, message: str) -> None:
    assert not is_unknown_model(status, message)


@pytest.mark.parametrize("provider", ["claude", "codex", "sdk", "other"])
def test_a_hint_names_the_list_and_the_setting_and_fits_a_header(provider: str) -> None:
    hint = unknown_model_hint(provider, "x\r\nset-cookie: é" + "y" * 10_000)
    assert "/v1/models" in hint
    assert "MODELS__ALIASES" in hint
    assert hint.isascii()
    assert hint.isprintable()
    assert len(hint) < 300
