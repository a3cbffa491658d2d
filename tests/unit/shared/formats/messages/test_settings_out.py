"""Thinking and sampling in the form that a model takes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.accounts.models import claude_capabilities
from shared.formats.ir import Json, Reasoning, ToolCall, ToolChoice, ToolResult
from shared.formats.written import Capabilities
from tests.unit.shared.formats.messages.writing import (
    NEW,
    OLD,
    OPUS_5,
    SIGNED,
    TOOLS,
    USER,
    assistant,
    user,
    write,
)


@pytest.mark.parametrize(
    ("reasoning", "model", "thinking", "effort", "dropped"),
    [
        (Reasoning(), NEW, None, None, ()),
        (Reasoning("high"), NEW, {"type": "adaptive"}, "high", ()),
        (Reasoning("minimal"), NEW, {"type": "adaptive"}, "low", ()),
        (Reasoning("none"), NEW, {"type": "adaptive"}, "low", ("reasoning_effort",)),
        (Reasoning("none"), OPUS_5, {"type": "disabled"}, None, ()),
        (
            Reasoning("high", summary="auto"),
            NEW,
            {"type": "adaptive", "display": "summarized"},
            "high",
            (),
        ),
        (Reasoning(mode="enabled", budget=4000), NEW, {"type": "adaptive"}, "low", ()),
        (
            Reasoning(mode="enabled", budget=4000),
            OPUS_5,
            {"type": "enabled", "budget_tokens": 4000},
            "low",
            (),
        ),
        (Reasoning(mode="disabled"), NEW, {"type": "adaptive"}, "low", ("reasoning_effort",)),
        (Reasoning("low", mode="disabled"), OPUS_5, {"type": "disabled"}, "low", ()),
        (Reasoning(mode="between_tools"), NEW, {"type": "adaptive"}, None, ()),
        (
            Reasoning("max", mode="adaptive"),
            replace(NEW, efforts=frozenset({"low", "high"})),
            {"type": "adaptive"},
            "high",
            ("reasoning_effort",),
        ),
        (Reasoning("low"), OLD, {"type": "enabled", "budget_tokens": 2048}, None, ()),
        (Reasoning("none"), OLD, {"type": "disabled"}, None, ()),
        (Reasoning("high"), Capabilities(), None, None, ("reasoning_effort",)),
        (Reasoning("none"), Capabilities(), None, None, ()),
    ],
)
def test_how_hard_to_think(
    reasoning: Reasoning,
    model: Capabilities,
    thinking: Json | None,
    effort: str | None,
    dropped: tuple[str, ...],
) -> None:
    written = write(reasoning=reasoning, model=model)
    assert written.body.get("thinking") == thinking
    assert written.body.get("output_config", {}).get("effort") == effort
    assert written.dropped == dropped


@given(
    st.sampled_from(["minimal", "low", "medium", "high", "xhigh", "max"]),
    st.none() | st.integers(1, 200_000),
    st.none() | st.integers(1024, 100_000),
)
def test_a_budget_always_leaves_room_for_the_answer(
    effort: str, max_tokens: int | None, budget: int | None
) -> None:
    body = write(reasoning=Reasoning(effort, budget), max_tokens=max_tokens, model=OLD).body
    assert 0 < body["max_tokens"] <= OLD.max_output
    if "thinking" in body:
        assert 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"]


def test_a_budget_is_given_up_when_a_tool_turn_goes_on_without_signed_thinking() -> None:
    call, result = ToolCall("1", "f"), user(ToolResult("1"))
    settings: dict[str, Any] = {"tools": TOOLS, "reasoning": Reasoning("low"), "model": OLD}
    unsigned = write(USER, assistant(call), result, **settings)
    assert ("thinking" in unsigned.body, unsigned.dropped) == (False, ("reasoning_effort",))
    assert "thinking" in write(USER, assistant(SIGNED, call), result, **settings).body


def test_a_forced_tool_wins_over_thinking() -> None:
    for model in (OLD, OPUS_5):
        written = write(
            tools=TOOLS,
            tool_choice=ToolChoice("required"),
            reasoning=Reasoning("high"),
            model=model,
        )
        assert ("thinking" in written.body, written.dropped) == (False, ("reasoning_effort",))


@pytest.mark.parametrize(
    ("settings", "model", "sent", "dropped"),
    [
        (
            {"temperature": 0.5, "top_p": 0.5, "top_k": 1},
            NEW,
            {},
            ("temperature", "top_p", "top_k"),
        ),
        ({"temperature": 1, "top_p": 1}, NEW, {}, ()),
        ({"temperature": 0.5, "top_p": 0.5}, OLD, {"temperature": 0.5}, ("top_p",)),
        ({"top_p": 0.5, "top_k": 1}, OLD, {"top_p": 0.5, "top_k": 1}, ()),
        ({"temperature": 1.5}, OLD, {"temperature": 1}, ("temperature",)),
        ({"temperature": 0}, OLD, {"temperature": 0}, ()),
        ({"temperature": 0.5, "reasoning": Reasoning("low")}, OLD, {}, ("temperature",)),
    ],
)
def test_sampling(
    settings: dict[str, Any], model: Capabilities, sent: Json, dropped: tuple[str, ...]
) -> None:
    written = write(model=model, **settings)
    assert {
        name: written.body[name]
        for name in ("temperature", "top_p", "top_k")
        if name in written.body
    } == sent
    assert written.dropped == dropped


def test_the_small_settings() -> None:
    written = write(
        stop=("END", " "),
        user="u",
        metadata={"a": 1},
        verbosity="low",
        service_tier="flex",
        cache="5m",
        cache_key="ignored: Anthropic's cache has no key",
    )
    assert written.body["stop_sequences"] == ["END"]
    assert written.body["metadata"] == {"user_id": "u"}
    assert written.body["service_tier"] == "standard_only"
    assert written.body["cache_control"] == {"type": "ephemeral"}
    assert set(written.dropped) == {"stop", "metadata", "verbosity", "service_tier"}
    assert write(service_tier="priority").body["service_tier"] == "auto"


@pytest.mark.parametrize("mode", ["adaptive", "enabled"])
def test_a_model_that_thinks_takes_no_temperature(mode: str) -> None:
    model = claude_capabilities("claude-opus-4-6", [])
    written = write(model=model, reasoning=Reasoning(mode=mode), temperature=0.5)  # type: ignore[arg-type]
    assert "temperature" not in written.body
    assert written.dropped == ("temperature",)
    without = write(model=model, reasoning=Reasoning(mode="disabled"), temperature=0.5)
    assert without.body["temperature"] == 0.5
