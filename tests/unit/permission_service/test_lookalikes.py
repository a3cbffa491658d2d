"""A name that looks like another one is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from permission_service.lookalikes import (
    host_in,
    mixed_words,
    punycode,
    url_warnings,
    word_warnings,
)


@pytest.mark.parametrize(
    ("host", "looked_up"),
    [
        ("example.com", "example.com"),
        ("\u0435xample.com", "xn--xample-2of.com"),
        ("\uff45xample\u3002com", "example.com"),
        ("b\xfccher.de", "xn--bcher-kva.de"),
        ("", ""),
        ("a..b", "a..b"),
    ],
)
def test_a_host_is_shown_as_it_is_looked_up(host: str, looked_up: str) -> None:
    assert punycode(host) == looked_up


@given(st.text())
def test_no_text_raises(text: str) -> None:
    assert punycode(text).isascii()
    host_in(text)
    url_warnings(f"https://{text}")
    word_warnings(text)


def test_an_address_that_leads_elsewhere_is_named() -> None:
    assert url_warnings("curl https://example.com/a") == []
    assert "evil.com" in url_warnings("curl 'https://google.com@evil.com/'")[0]
    assert "xn--xample-2of.com" in url_warnings("wget http://\u0435xample.com; ls")[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("plain words", []),
        ("na\xefve caf\xe9 \u0394x x\xb2 \u6f22\u5b57", []),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", []),
        ("p\u0430ypal", ["p\u0430ypal"]),
        ("\uff52\uff4d -rf", ["\uff52\uff4d"]),
        ("\u0391dmin", ["\u0391dmin"]),
    ],
)
def test_a_word_that_mixes_scripts_is_named(text: str, found: list[str]) -> None:
    assert mixed_words(text) == found
    assert bool(word_warnings(text)) == bool(found)
