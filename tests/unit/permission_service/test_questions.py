"""A question is answered by the position of an option in the input, never by the text on the
screen.
"""

from __future__ import annotations

from tests.unit.permission_service.presenting import presented


def test_questions_name_their_options_by_position() -> None:
    question = {
        "question": "Which?\u202e",
        "multiSelect": True,
        "options": [{"label": "a", "description": 5}, {"label": "b"}],
    }
    shown = presented("AskUserQuestion", {"questions": [question]})
    assert shown.title == "Claude asks you"
    assert shown.questions[0].text == r"Which?\u202e"
    assert [(option.place, option.label) for option in shown.questions[0].options] == [
        (0, "a"),
        (1, "b"),
    ]
    assert shown.questions[0].multiple
