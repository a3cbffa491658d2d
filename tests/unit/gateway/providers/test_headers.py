from __future__ import annotations

import pytest

from gateway.providers.headers import forwarded


@pytest.mark.parametrize(
    "name",
    [b"host", b"authorization", b"x-api-key", b"cookie", b"content-length", b"x-forwarded-for", b"sec-fetch-mode", b"x-ccproxy-anything", b"cf-ray", b"origin", b"upgrade", b"x-session-id"],
)  # fmt: skip
def test_what_belongs_to_us_stays_with_us(name: bytes) -> None:
    assert forwarded({name: b"value"}) == {"accept-encoding": "identity"}


def test_what_a_caller_says_of_itself_goes_on() -> None:
    said = forwarded({b"user-agent": b"caf\xe9/1", b"x-app": b"cli", b"accept-encoding": b"br"})
    assert said == {"user-agent": "café/1", "x-app": "cli", "accept-encoding": "identity"}
