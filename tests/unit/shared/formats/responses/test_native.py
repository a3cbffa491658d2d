"""The Codex program's own requests stay untouched; others are fitted to the ChatGPT backend."""

from __future__ import annotations

import pytest

from shared.formats.envelope import wrap
from shared.formats.ir import Thinking
from shared.formats.responses.native import REFUSED_THERE, prepare, prepare_for_key
from shared.formats.responses.target import Dialect
from shared.runtime.errors import ClientError

DEVELOPER = {
    "type": "message",
    "id": "msg_1",
    "role": "developer",
    "content": [{"type": "input_text", "text": "base"}],
}
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
CODEX = {
    "model": "gpt-5.5",
    "stream": True,
    "input": [
        {
            "type": "additional_tools",
            "id": "at_1",
            "role": "developer",
            "tools": [{"type": "namespace", "name": "n"}],
        },
        DEVELOPER,
        USER,
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "ok"},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "gBBB"},
    ],
    "tools": [
        {"type": "web_search", "external_web_access": True},
        {"type": "tool_search", "execution": "client"},
    ],
    "tool_choice": "auto",
    "parallel_tool_calls": True,
    "reasoning": {"effort": "medium"},
    "store": False,
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "k",
    "text": {"verbosity": "low"},
    "client_metadata": {"session_id": "s"},
    "something_new": {"a": 1},
}


def fit(**changes):
    return prepare(CODEX | changes)


def test_a_codex_request_is_the_very_same_object():
    prepared = prepare(CODEX)
    assert prepared.body is CODEX
    assert prepared.dropped == ()


def test_a_request_for_the_public_service_is_the_very_same_object():
    body = {"model": "m", "input": "hi", "temperature": 0.5, "previous_response_id": "resp_1"}
    assert prepare(body, Dialect(codex=False)).body is body


def test_a_plain_request_gets_what_the_backend_insists_on():
    body = {"model": "m", "input": "hi", "stream": False}
    assert prepare(body).body == {
        "model": "m",
        "input": [{"type": "message", "role": "user", "content": "hi"}],
        "instructions": "You are a helpful assistant.",
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    assert body == {"model": "m", "input": "hi", "stream": False}


def test_the_spelling_messages_becomes_input():
    body = prepare({"model": "m", "messages": [USER], "instructions": "x"}).body
    assert body["input"] == [USER]
    assert "messages" not in body


@pytest.mark.parametrize("field", sorted(REFUSED_THERE))
def test_a_field_the_backend_refuses_is_dropped_by_name(field):
    prepared = fit(**{field: "value"})
    assert prepared.body == CODEX
    assert prepared.dropped == (field,)


@pytest.mark.parametrize(
    "changes",
    [
        {"background": True},
        {"conversation": "conv_1"},
        {"previous_response_id": "resp_1"},
        {"input": [{"type": "item_reference", "id": "rs_1"}]},
        {"input": 5},
    ],
)
def test_what_needs_stored_state_is_refused(changes):
    with pytest.raises(ClientError):
        fit(**changes)


def test_storing_is_switched_off_and_named():
    prepared = fit(store=True)
    assert prepared.body["store"] is False
    assert prepared.dropped == ("store",)


def test_what_is_to_be_included_is_added_to():
    include = ["web_search_call.results"]
    assert fit(include=include).body["include"] == [*include, "reasoning.encrypted_content"]


@pytest.mark.parametrize(
    ("item", "fitted"),
    [
        (USER | {"role": "system"}, USER | {"role": "developer"}),
        (USER | {"id": "item-7"}, USER),
        (USER | {"id": None}, USER | {"id": None}),
        (
            {
                "type": "function_call",
                "id": "call_1",
                "call_id": "c",
                "name": "f",
                "arguments": "{}",
            },
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        ),
        ({"type": "new_kind", "id": "x"}, {"type": "new_kind", "id": "x"}),
    ],
)
def test_an_item_is_fitted_without_losing_words(item, fitted):
    prepared = fit(input=[DEVELOPER, item])
    assert prepared.body["input"] == [DEVELOPER, fitted]
    assert prepared.dropped == ()


@pytest.mark.parametrize("sealed", [None, "", wrap(Thinking("hm", "sig", "anthropic"))])
def test_reasoning_the_backend_cannot_open_is_left_out_and_named(sealed):
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": sealed}
    prepared = fit(input=[DEVELOPER, item])
    assert prepared.body["input"] == [DEVELOPER]
    assert prepared.dropped == ("input[].reasoning",)


def test_cache_breakpoints_are_left_out_and_named():
    marked = {"type": "input_text", "text": "hi", "prompt_cache_breakpoint": {"ttl": "30m"}}
    prepared = fit(input=[DEVELOPER, USER | {"content": [marked]}])
    assert prepared.body["input"] == [DEVELOPER, USER]
    assert prepared.dropped == ("input[].content[].prompt_cache_breakpoint",)


@pytest.mark.parametrize(
    ("mode", "client", "instructions", "first"),
    [
        ("override", "mine", "house", "mine"),
        ("append", "mine", "mine\n\nhouse", None),
        ("append", None, "house", None),
        ("disabled", "mine", "mine", None),
    ],
)
def test_the_operators_instructions_stand_beside_the_clients(mode, client, instructions, first):
    body = prepare(
        {"model": "m", "input": [USER], "instructions": client},
        Dialect(mode=mode, instructions="house"),
    ).body
    assert body["instructions"] == instructions
    said = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": first}]}
    ]
    assert body["input"] == (said if first else []) + [USER]


@pytest.mark.parametrize(
    ("tier", "fitted", "dropped"),
    [
        ("fast", "priority", ()),
        ("auto", None, ()),
        ("flex", None, ("service_tier",)),
        ("default", "default", ()),
    ],
)
def test_a_service_tier_the_backend_does_not_know_is_translated_or_named(tier, fitted, dropped):
    prepared = fit(service_tier=tier)
    assert prepared.body.get("service_tier") == fitted
    assert prepared.dropped == dropped


def test_old_names_become_those_the_backend_knows():
    body = fit(
        tools=[{"type": "web_search_preview"}], reasoning={"effort": "minimal", "summary": "auto"}
    ).body
    assert body["tools"] == [{"type": "web_search"}]
    assert body["reasoning"] == {"effort": "low", "summary": "auto"}


@pytest.mark.parametrize(
    "name", ["previous_response_id", "prompt", "max_tool_calls", "conversation", "moderation"]
)
def test_a_null_says_nothing_and_is_left_out(name):
    prepared = fit(**{name: None})
    assert name not in prepared.body
    assert prepared.dropped == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("background", False),
        ("truncation", "disabled"),
        ("top_logprobs", 0),
        ("prompt_cache_options", {}),
    ],
)
def test_a_default_says_nothing_and_is_left_out(name, value):
    prepared = fit(**{name: value})
    assert name not in prepared.body
    assert prepared.dropped == ()


def test_a_limit_on_tool_calls_is_named():
    assert fit(max_tool_calls=3).dropped == ("max_tool_calls",)


def test_a_prompt_template_is_refused():
    with pytest.raises(ClientError, match="prompt"):
        fit(prompt={"id": "pmpt_1"})


OPEN = {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]}


def test_a_function_that_cannot_be_strict_is_said_to_be_loose():
    tool = {"type": "function", "name": "get_weather", "parameters": OPEN}
    prepared = fit(tools=[tool])
    assert prepared.body["tools"] == [tool | {"strict": False}]
    assert prepared.dropped == ()


def test_a_function_that_can_be_strict_stays_as_it_is():
    tool = {"type": "function", "name": "f", "parameters": OPEN | {"additionalProperties": False}}
    assert fit(tools=[tool]).body["tools"] == [tool]


def test_a_schema_is_repaired_and_its_loss_named():
    schema = {"type": "object", "properties": {"a": {"type": "array", "pattern": "\\p{L}"}}}
    tool = {"type": "function", "name": "f", "parameters": schema, "strict": False}
    space = {"type": "namespace", "name": "n", "tools": [tool]}
    prepared = fit(
        tools=[tool, space], text={"format": {"type": "json_schema", "name": "n", "schema": schema}}
    )
    mended = {"type": "object", "properties": {"a": {"type": "array", "items": {}}}}
    assert prepared.body["tools"][0]["parameters"] == mended
    assert prepared.body["tools"][1]["tools"][0]["parameters"] == mended
    assert prepared.body["text"]["format"]["schema"] == mended
    assert prepared.dropped == (
        "tools[].parameters.properties.a.pattern",
        "tools[].tools[].parameters.properties.a.pattern",
        "text.format.schema.properties.a.pattern",
    )


@pytest.mark.parametrize(
    ("reasoning", "sent", "dropped"),
    [
        ({"generate_summary": "auto"}, {"summary": "auto"}, ()),
        (
            {"summary": "auto", "generate_summary": "concise"},
            {"summary": "auto"},
            ("reasoning.generate_summary",),
        ),
        ({"effort": "low", "mode": "standard"}, {"effort": "low"}, ("reasoning.mode",)),
    ],
)
def test_reasoning_goes_out_in_the_backends_words(reasoning, sent, dropped):
    written = prepare(CODEX | {"reasoning": reasoning})
    assert (written.body["reasoning"], written.dropped) == (sent, dropped)


@pytest.mark.parametrize("name", ["access_programs", "image"])
def test_a_field_that_only_the_public_interface_knows_is_left_out_and_named(name):
    written = prepare(CODEX | {name: {"a": "b"}})
    assert name not in written.body
    assert written.dropped == (name,)


def test_a_key_gets_no_reasoning_that_the_login_has_sealed_and_seals_none() -> None:
    sealed = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAA"}
    body = prepare({"model": "m", "input": [USER, sealed, USER], "instructions": "x"}).body
    assert body["include"] == ["reasoning.encrypted_content"]
    written = prepare_for_key(body)
    assert written.body["input"] == [USER, USER]
    assert (written.body["include"], written.body["store"]) == ([], False)
    assert written.dropped == ("input[].reasoning",)
    # The reply of the key has no seal, and the backend gets no reasoning without one.
    unsealed = sealed | {"encrypted_content": None}
    assert prepare(body | {"input": [USER, unsealed]}).body["input"] == [USER]


@pytest.mark.parametrize(
    ("tier", "sent"), [("fast", False), ("priority", False), ("default", True)]
)
def test_a_key_pays_for_no_dearer_tier(tier: str, sent: bool) -> None:
    written = prepare_for_key(prepare(CODEX | {"service_tier": tier}).body)
    assert ("service_tier" in written.body) == sent
    assert ("service_tier" in written.dropped) != sent
