"""The parts of a Responses reply: annotations, sealed reasoning, usage, the response at its start."""

from __future__ import annotations

from shared.formats import ir
from shared.formats.envelope import unwrap
from shared.formats.responses.items_out import (
    begin_response,
    response_usage,
    sealed_reasoning,
    write_annotation,
)


def test_a_citation_without_an_end_spans_the_whole_text() -> None:
    cited = ir.Citation(url="https://x", title="X")
    assert write_annotation(cited, "hello") == {
        "type": "url_citation",
        "url": "https://x",
        "title": "X",
        "start_index": 0,
        "end_index": 5,
    }


def test_openais_own_citation_keeps_its_shape_and_one_without_an_address_is_left_out() -> None:
    own = {"type": "file_citation", "file_id": "f"}
    assert write_annotation(ir.Citation(vendor="openai", data=own), "x") == own
    assert write_annotation(ir.Citation(title="a file"), "x") is None


def test_only_the_seal_of_openai_for_its_own_id_stands_for_itself_and_others_are_wrapped() -> None:
    block = ir.Thinking()
    assert sealed_reasoning(block, "so", None, "rs_1") == ""
    assert sealed_reasoning(block, "so", ir.Seal("abc", "openai", "rs_1"), "rs_1") == "abc"
    wrapped = sealed_reasoning(block, "so", ir.Seal("abc", "anthropic", "rs_1"), "rs_1")
    assert unwrap(wrapped) == ir.Thinking("so", "abc", "anthropic", "rs_1")
    renamed = sealed_reasoning(block, "so", ir.Seal("abc", "openai", "rs_1"), "rs_2")
    assert unwrap(renamed) == ir.Thinking("so", "abc", "openai", "rs_1")
    redacted = ir.Thinking(signature="abc", vendor="anthropic", redacted=True)
    assert unwrap(sealed_reasoning(redacted, "", None, "rs_1")) == redacted


def test_usage_counts_cached_tokens_among_the_input() -> None:
    usage = response_usage(ir.Usage(input=5, cache_read=100, cache_write=20, output=7, reasoning=3))
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (125, 7, 132)
    assert usage["input_tokens_details"] == {"cached_tokens": 100, "cache_write_tokens": 20}
    assert usage["output_tokens_details"] == {"reasoning_tokens": 3}


def test_a_response_begins_with_the_settings_of_its_prompt() -> None:
    named = ir.ToolChoice("named", "look")
    prompt = ir.Prompt("m", tool_choice=named, parallel_tools=False, max_tokens=9)
    response = begin_response(prompt, "resp_1", 5, "m")
    assert (response["id"], response["created_at"], response["status"]) == (
        "resp_1",
        5,
        "in_progress",
    )
    assert response["tool_choice"] == {"type": "function", "name": "look"}
    assert response["parallel_tool_calls"] is False
    assert begin_response(ir.Prompt("m"), "r", 5, "m")["tool_choice"] == "auto"
