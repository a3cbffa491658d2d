"""The questions of AskUserQuestion as a person sees them: each with its options, by their positions
in the input.
"""

from __future__ import annotations

from typing import Any

from permission_service.draft import Draft, OddShape
from shared.permissions.presented import PresentedOption, PresentedQuestion
from shared.runtime.visible_text import visible


def present_questions(draft: Draft) -> None:
    """Present every question with its options. Raises OddShape for a part without a name for an
    answer.
    """
    questions = draft.left.get("questions")
    if not isinstance(questions, list) or not questions:
        raise OddShape("questions")
    draft.questions = [_question(place, question) for place, question in enumerate(questions)]
    texts = [question["question"] for question in questions]
    if len(set(texts)) < len(texts):  # the answers are named by the text of their question
        raise OddShape("questions")
    del draft.left["questions"]
    draft.title = "Claude asks you"


def _question(place: int, question: Any) -> PresentedQuestion:
    if (
        not isinstance(question, dict)
        or not isinstance(question.get("question"), str)
        or not question["question"]
    ):
        raise OddShape("questions")
    options = question.get("options", [])
    if not isinstance(options, list):
        raise OddShape("options")
    presented = [_option(number, option) for number, option in enumerate(options)]
    return PresentedQuestion(
        place, visible(question["question"]), presented, question.get("multiSelect") is True
    )


def _option(place: int, option: Any) -> PresentedOption:
    if (
        not isinstance(option, dict)
        or not isinstance(option.get("label"), str)
        or not option["label"]
    ):
        raise OddShape("options")
    description = option.get("description")
    return PresentedOption(
        place,
        visible(option["label"]),
        visible(description) if isinstance(description, str) else "",
    )
