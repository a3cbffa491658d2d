"""What is seen of a body must be what a JSON parser would see, however large it is."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.peek import LARGE_BYTES, peek, scan
from shared.runtime.errors import ClientError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["model", "stream"]), inner)
    ),
    max_leaves=12,
)


@given(
    document=st.dictionaries(
        st.text() | st.sampled_from(["messages", "a\\", '"']), JSON, max_size=5
    ),
    stream=st.booleans(),
)
async def test_scanning_finds_what_parsing_finds(document: dict[str, Any], stream: bool) -> None:
    document |= {"model": 'a "quoted\\" name', "stream": stream}
    for body in (orjson.dumps(document), json.dumps(document, indent=3).encode()):
        assert await scan(body, {b'"model"', b'"stream"'}) == {
            "model": document["model"],
            "stream": stream,
        }


async def test_keys_inside_other_values_are_not_taken_for_the_request_s_own() -> None:
    body = orjson.dumps(
        {"messages": [{"model": "inner", "text": '"model": "quoted"'}], "model": "outer"}
    )
    assert await scan(body, {b'"model"'}) == {"model": "outer"}


async def test_a_large_body_is_scanned_and_a_small_one_parsed() -> None:
    large = orjson.dumps({"messages": "x" * 1_200_000, "model": "big", "stream": True})
    seen = await peek(large)
    assert (seen.model, seen.stream, seen.document) == ("big", True, None)
    assert (await peek(b'{"model":"small"}')).document == {"model": "small"}


@pytest.mark.parametrize("tail", [b"", b'"', b'"open', b'"}'])
async def test_a_large_body_that_ends_in_the_middle_is_refused(tail: bytes) -> None:
    body = b'{"messages": [' + b'"x",' * 400_000 + tail
    with pytest.raises(ClientError, match="not valid JSON"):
        await peek(body)


async def test_a_large_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(ClientError, match="must be a JSON object"):
        await peek(b"[" + b"1," * 600_000 + b"1]")


@pytest.mark.parametrize("value", [b"1e999999", b'"\\ud800', b'"\\x"', b"01"])
async def test_a_value_that_is_no_json_is_refused_in_a_large_body(value: bytes) -> None:
    with pytest.raises(ClientError, match="not valid JSON"):
        await peek(b'{"model": ' + value + b', "pad": "' + b"x" * LARGE_BYTES + b'"}')
