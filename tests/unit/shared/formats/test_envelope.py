"""Foreign reasoning comes back exactly as it left, and nothing else is taken for it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.formats.envelope import PREFIX, unwrap, wrap
from shared.formats.ir import Thinking

THINKING = st.builds(
    Thinking,
    text=st.text(),
    signature=st.text(),
    vendor=st.sampled_from(["anthropic", "openai"]),
    id=st.text(),
    redacted=st.booleans(),
)


@given(THINKING)
def test_unwrap_is_the_inverse_of_wrap(thinking: Thinking) -> None:
    assert unwrap(wrap(thinking)) == thinking
    assert wrap(thinking).isascii()


@pytest.mark.parametrize(
    "other",
    [
        "",
        "EqQBCkYIBxgCKkD",
        PREFIX,
        PREFIX + "no base64!",
        PREFIX + base64.b64encode(b"no json").decode(),
        PREFIX + base64.b64encode(b'["someone","","",false,""]').decode(),
        PREFIX + base64.b64encode(b'["openai","",1,false,""]').decode(),
        PREFIX + base64.b64encode(b"{}").decode(),
    ],
)
def test_anything_else_is_no_envelope(other: str) -> None:
    assert unwrap(other) is None
