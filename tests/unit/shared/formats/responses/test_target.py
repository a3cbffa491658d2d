"""The operator's instructions join the client's, or take their place; the client's are never lost."""

from __future__ import annotations

import pytest

from shared.formats.ir import Text
from shared.formats.responses.target import Dialect
from tests.unit.shared.formats.responses.writing import write

OPERATOR = "You are the house."


@pytest.mark.parametrize(
    ("mode", "client", "instructions", "developer"),
    [
        ("override", "be brief", OPERATOR, "be brief"),
        ("override", "", OPERATOR, None),
        ("append", "be brief", f"be brief\n\n{OPERATOR}", None),
        ("append", "", OPERATOR, None),
        ("disabled", "be brief", "be brief", None),
        ("disabled", "", "You are a helpful assistant.", None),
    ],
)
def test_the_clients_instructions_always_reach_the_model(mode, client, instructions, developer):
    system = (Text(client),) if client else ()
    body = write(Dialect(mode=mode, instructions=OPERATOR), system=system).body
    assert body["instructions"] == instructions
    moved = [
        {
            "type": "message",
            "role": "developer",
            "content": [{"type": "input_text", "text": developer}],
        }
    ]
    alone = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": client}]}
    ]
    assert body["input"] == (moved if developer else alone if client else [])
