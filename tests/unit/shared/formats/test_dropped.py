"""What a request leaves out is named once, in the words of the client."""

from __future__ import annotations

from shared.formats.dropped import DroppedFields
from shared.formats.ir import Prompt
from tests.unit.shared.formats.responses.writing import write


def test_a_field_is_named_once_as_the_client_spelled_it_and_its_insides_with_it() -> None:
    spelling = {"stop": "stop_sequences", "tools.schema": "input_schema"}
    fields = DroppedFields(Prompt("m", dropped=("seed",), spelling=spelling))
    fields.drop("stop", "top_k")
    fields.drop("stop")
    fields.drop_inside("tools", ["schema", "kind"])
    assert fields.dropped == ("seed", "stop_sequences", "top_k", "input_schema", "tools.kind")


def test_the_readers_losses_are_told_on() -> None:
    assert write(dropped=("seed",), top_k=1).dropped == ("seed", "top_k")
