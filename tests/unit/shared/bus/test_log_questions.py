"""A question that the gateway takes is one that analytics takes."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from analytics.questions import Agents, Export, Filter, Groups, Outcomes, SessionPages, Timeline
from shared.bus.log_questions import (
    AgentsFilter,
    ExportFilter,
    GroupsFilter,
    OutcomesQuestion,
    RecordFilter,
    SessionsFilter,
    StepsFilter,
)


@pytest.mark.parametrize(
    ("asked", "answered", "needed"),
    [
        (RecordFilter, Filter, {}),
        (ExportFilter, Export, {}),
        (StepsFilter, Timeline, {}),
        (GroupsFilter, Groups, {"by": "model"}),
        (SessionsFilter, SessionPages, {}),
        (AgentsFilter, Agents, {"session_id": "s"}),
        (OutcomesQuestion, Outcomes, {}),
    ],
)
def test_analytics_reads_what_the_gateway_has_checked(
    asked: type[BaseModel], answered: type[BaseModel], needed: dict[str, str]
) -> None:
    question = asked.model_validate(needed)
    read = answered.model_validate(question.model_dump(exclude_none=True))
    assert read.model_dump() == question.model_dump()


def test_a_parameter_that_no_question_knows_is_refused() -> None:
    with pytest.raises(ValidationError, match="modle"):
        RecordFilter.model_validate({"modle": "opus"})
