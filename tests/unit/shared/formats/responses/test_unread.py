"""A field of an item that no other vendor is told is named, and one that says nothing is not."""

from __future__ import annotations

import pytest

from shared.formats.responses.request_in import read_prompt

CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}


@pytest.mark.parametrize(
    ("item", "named"),
    [
        (CALL | {"caller": {"type": "direct"}, "id": "fc_1", "status": "completed"}, ()),
        (CALL | {"caller": {"type": "program", "caller_id": "p"}}, ("input[].caller",)),
        (
            {
                "role": "assistant",
                "content": [{"type": "output_text", "text": "t", "annotations": []}],
            },
            (),
        ),
        (
            {
                "role": "assistant",
                "content": [{"type": "output_text", "text": "t", "annotations": [{"type": "x"}]}],
            },
            ("input[].content[].annotations",),
        ),
        (
            {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"text": "t"}]},
            ("input[].content",),
        ),
        ({"type": "program", "id": "p", "code": "c"}, ()),
    ],
)
def test_a_field_of_an_item_that_no_other_vendor_is_told_is_named(item, named):
    assert read_prompt({"model": "m", "input": [item]}).dropped == named
