"""A setting becomes the nearest one that the service and the model take, or is named as lost."""

from __future__ import annotations

import pytest

from shared.formats.ir import Reasoning, ResponseFormat
from shared.formats.responses.target import Dialect
from shared.formats.written import Capabilities
from tests.unit.shared.formats.responses.writing import CLOSED, PUBLIC, SCHEMA, write

SAMPLING = {
    "max_tokens": 99,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 3,
    "stop": ("x",),
    "metadata": {"a": "b"},
    "user": "u",
}


def test_the_codex_backend_is_spared_what_it_refuses_and_the_caller_is_told():
    written = write(**SAMPLING)
    assert (
        not {"max_output_tokens", "temperature", "top_p", "metadata", "safety_identifier"}
        & written.body.keys()
    )
    assert written.dropped == tuple(SAMPLING)
    assert write(cache_key="k", user="u").dropped == ("user",)


def test_the_public_service_takes_more():
    written = write(PUBLIC, **SAMPLING)
    taken = ("max_output_tokens", "temperature", "top_p", "metadata")
    assert [written.body[name] for name in taken] == [99, 0.5, 0.5, {"a": "b"}]
    assert len(written.body["safety_identifier"]) == 32
    assert written.dropped == ("top_k", "stop")


def test_fewer_tokens_than_the_public_service_takes_become_its_fewest_and_are_named():
    written = write(PUBLIC, max_tokens=1)
    assert (written.body["max_output_tokens"], written.dropped) == (16, ("max_tokens",))


def test_defaults_are_not_worth_a_word():
    assert write(temperature=1, top_p=1).dropped == ()


@pytest.mark.parametrize(
    ("asked", "effort", "dropped"),
    [
        (Reasoning(), None, ()),
        (Reasoning("high"), "high", ()),
        (Reasoning("minimal"), "low", ()),
        (Reasoning("none"), "low", ("reasoning_effort",)),
        (Reasoning("max"), "xhigh", ("reasoning_effort",)),
        (Reasoning("ultra"), "medium", ("reasoning_effort",)),
        (Reasoning(mode="adaptive"), None, ()),
        (Reasoning(mode="enabled", budget=4_000), "low", ()),
        (Reasoning(mode="enabled", budget=10_000), "medium", ()),
        (Reasoning(mode="enabled", budget=32_000), "high", ()),
        (Reasoning(mode="disabled"), "low", ("reasoning_effort",)),
    ],
)
def test_an_effort_becomes_the_nearest_the_model_has(asked, effort, dropped):
    written = write(reasoning=asked)
    assert written.body["reasoning"].get("effort") == effort
    assert written.dropped == dropped


def test_an_effort_stays_when_nothing_is_known_of_the_model_but_minimal_which_no_codex_model_takes():
    assert (
        write(model=Capabilities(), reasoning=Reasoning("max")).body["reasoning"]["effort"] == "max"
    )
    assert (
        write(model=Capabilities(), reasoning=Reasoning("minimal")).body["reasoning"]["effort"]
        == "low"
    )


def test_minimal_is_never_the_weakest_effort_of_a_codex_model():
    model = Capabilities(efforts=frozenset({"minimal", "low"}))
    assert write(model=model, reasoning=Reasoning("none")).body["reasoning"]["effort"] == "low"
    assert (
        write(PUBLIC, model, reasoning=Reasoning("none")).body["reasoning"]["effort"] == "minimal"
    )


@pytest.mark.parametrize(
    ("asked", "summary"),
    [
        (None, "auto"),
        ("detailed", "detailed"),
        ("summarized", "auto"),
        ("none", None),
        ("omitted", None),
    ],
)
def test_a_summary_is_asked_for_unless_the_client_wants_none(asked, summary):
    assert (
        write(reasoning=Reasoning(summary=asked)).body.get("reasoning", {}).get("summary")
        == summary
    )


def test_a_public_model_not_known_to_reason_is_not_asked_for_summaries():
    assert "reasoning" not in write(PUBLIC, Capabilities()).body


@pytest.mark.parametrize(
    ("form", "written"),
    [
        (ResponseFormat(), {"type": "json_object"}),
        (
            ResponseFormat(CLOSED, "my shape", "d", True),
            {
                "type": "json_schema",
                "name": "my_shape",
                "schema": CLOSED,
                "strict": True,
                "description": "d",
            },
        ),
        (
            ResponseFormat(SCHEMA),
            {"type": "json_schema", "name": "reply", "schema": SCHEMA, "strict": False},
        ),
    ],
)
def test_a_response_format_is_flat(form, written):
    assert write(response_format=form, verbosity="low").body["text"] == {
        "format": written,
        "verbosity": "low",
    }


@pytest.mark.parametrize(
    ("dialect", "tier", "written", "dropped"),
    [
        (Dialect(), "fast", "priority", ()),
        (Dialect(), "priority", "priority", ()),
        (Dialect(), "auto", None, ()),
        (Dialect(), "standard_only", None, ()),
        (Dialect(), "flex", None, ("service_tier",)),
        (PUBLIC, "flex", "flex", ()),
    ],
)
def test_a_service_tier_is_named_as_the_service_names_it(dialect, tier, written, dropped):
    result = write(dialect, service_tier=tier)
    assert result.body.get("service_tier") == written
    assert result.dropped == dropped


def test_a_reply_format_that_cannot_be_strict_is_an_ordinary_one_and_named():
    written = write(response_format=ResponseFormat(SCHEMA, "n", None, True))
    assert (written.body["text"]["format"]["strict"], written.dropped) == (
        False,
        ("response_format.strict",),
    )


def test_a_reply_format_without_properties_gets_empty_ones():
    written = write(response_format=ResponseFormat({"type": "object"}))
    assert written.body["text"]["format"]["schema"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("asked", "effort", "dropped"),
    [
        (Reasoning("high", mode="disabled"), "none", ("reasoning_effort",)),
        (Reasoning("high", 2048, "enabled"), "high", ("budget",)),
        (Reasoning(mode="between_tools"), None, ("thinking",)),
    ],
)
def test_thinking_that_openai_has_no_word_for_is_named(asked, effort, dropped):
    written = write(model=Capabilities(efforts=frozenset({"none", "low", "high"})), reasoning=asked)
    assert (written.body["reasoning"].get("effort"), written.dropped) == (effort, dropped)
