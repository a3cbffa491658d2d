"""One-time links: their address, and what is known of their secret elsewhere."""

from __future__ import annotations

from shared.permissions.answer_links import (
    ANSWER_LINK,
    ANSWER_PATH,
    link_digest,
    new_link_token,
)


def test_each_secret_is_new_and_makes_an_address_that_the_guard_knows() -> None:
    tokens = {new_link_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(ANSWER_LINK.fullmatch(ANSWER_PATH + token) for token in tokens)


def test_an_address_with_more_or_less_than_a_secret_is_no_link() -> None:
    token = new_link_token()
    for path in (token[:-1], f"{token}x", f"{token}/", "respond", ""):
        assert ANSWER_LINK.fullmatch(ANSWER_PATH + path) is None


def test_a_digest_is_sha_256_in_hex() -> None:
    assert link_digest("abc").startswith("ba7816bf8f01cfea")
    assert len(link_digest("abc")) == 64
