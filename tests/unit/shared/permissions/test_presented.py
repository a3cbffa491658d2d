"""The shape that travels to every view stays readable by all of them."""

from __future__ import annotations

from shared.bus.channels import decode_payload, encode_payload
from shared.permissions.presented import (
    Block,
    DiffRow,
    LabelledText,
    Presentation,
    PresentedOption,
    PresentedQuestion,
    RememberChoice,
)


def test_a_presentation_arrives_as_it_was_sent() -> None:
    shown = Presentation(
        "Edit a.py",
        "Edit a.py",
        [LabelledText("Caller", "alice")],
        ["Care."],
        [
            Block("Change", "diff", rows=[DiffRow("-", "a", 1), DiffRow("+", "b", new=1)]),
            Block("File", "line", "a.py"),
        ],
        [PresentedQuestion(0, "Which?", [PresentedOption(0, "this")])],
        [RememberChoice("always", "Always: ls …", "…")],
        complete=False,
    )
    assert decode_payload(Presentation, encode_payload(shown)) == shown
