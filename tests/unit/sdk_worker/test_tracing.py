"""A turn's span ends however the turn does."""

from __future__ import annotations

import asyncio

import pytest

from sdk_worker.tracing import turn_span
from shared.bus.channels import Turn
from shared.runtime.errors import UpstreamError

TURN = Turn(
    "r1", {"model": "claude-x", "messages": [{"role": "user", "content": "the secret prompt"}]}
)


class Spans:
    """A tracer that keeps what is ended."""

    def start(self, kind, parent):
        self.begun = kind, parent
        return self

    def end(self, name, attributes, error=""):
        self.ended = name, attributes, error


def test_what_is_told_of_a_turn_stands_in_its_span_below_the_requests():
    spans, turn = Spans(), Turn("r1", TURN.body, traceparent="00-a-b-01")
    with turn_span(spans, turn) as told:
        told["ccproxy.turns"] = 2
    name, attributes, error = spans.ended
    assert spans.begun == ("server", "00-a-b-01")
    assert (name, error, attributes["ccproxy.turns"]) == ("invoke_agent claude", "", 2)
    assert attributes["gen_ai.request.model"] == "claude-x"
    assert "secret" not in str(attributes)


@pytest.mark.parametrize(
    ("raised", "kind"), [(UpstreamError("x"), "upstream"), (asyncio.CancelledError(), "cancelled")]
)
def test_what_breaks_a_turn_off_is_named(raised, kind):
    spans = Spans()
    with pytest.raises(type(raised)), turn_span(spans, TURN):
        raise raised
    assert spans.ended[2] == kind


def test_an_error_that_was_told_the_caller_is_named_too():
    spans = Spans()
    with turn_span(spans, TURN) as told:
        told["error"] = "timeout"
    assert spans.ended[2] == "timeout"
    assert "error" not in spans.ended[1]


def test_without_a_tracer_a_turn_is_not_traced():
    with turn_span(None, TURN) as told:
        told["ccproxy.turns"] = 1
