"""What each scenario says, as a whole message; the faults on the wire are in the contract tests."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from simulator.anthropic.scenarios import REFUSALS
from simulator.script import BIG_CHARACTERS

LOOK = {
    "name": "look",
    "input_schema": {
        "type": "object",
        "properties": {"where": {"type": "string"}},
        "required": ["where"],
    },
}
STOP = {"name": "stop", "input_schema": {"type": "object"}}
TOOLS = {"tools": [LOOK, STOP]}


async def ask(
    client: httpx.AsyncClient, scenario: str = "text", content: Any = "hello", **changes: Any
) -> dict[str, Any]:
    body = {
        "model": f"claude-sim-{scenario}",
        "max_tokens": 100_000,
        "messages": [{"role": "user", "content": content}],
        **changes,
    }
    reply = await client.post("/v1/messages", json=body)
    assert reply.status_code == 200, reply.text
    message: dict[str, Any] = reply.json()
    return message


def texts(message: dict[str, Any]) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def kinds(message: dict[str, Any]) -> list[str]:
    return [block["type"] for block in message["content"]]


async def test_the_last_prompt_is_echoed_without_what_the_client_adds(
    client: httpx.AsyncClient,
) -> None:
    blocks = [
        {"type": "text", "text": text}
        for text in ("<system-reminder>x</system-reminder>", "hi there")
    ]
    assert texts(await ask(client, content=blocks)) == "You said: hi there"


async def test_every_secret_in_the_request_comes_back(client: httpx.AsyncClient) -> None:
    message = await ask(
        client, content="SECRET-b1", system="you know SECRET-a2", metadata={"user_id": "SECRET-c3"}
    )
    assert {"SECRET-a2", "SECRET-b1", "SECRET-c3"} <= set(texts(message).split())


async def test_a_directive_can_dictate_the_reply(client: httpx.AsyncClient) -> None:
    assert texts(await ask(client, content="please [[say:exactly this]]")) == "exactly this"


async def test_a_directive_picks_a_scenario_for_a_fixed_model(client: httpx.AsyncClient) -> None:
    message = await ask(client, content="[[scenario:long-3]]", model="claude-opus-5-5")
    assert texts(message) == "one two three"


@pytest.mark.parametrize("name", ["nonsense", "long-", "text-x", ""])
async def test_an_unknown_scenario_is_an_unknown_model(
    client: httpx.AsyncClient, name: str
) -> None:
    body = {
        "model": f"claude-sim-{name}",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "hi"}],
    }
    reply = await client.post("/v1/messages", json=body)
    assert (reply.status_code, reply.json()["error"]["type"]) == (404, "not_found_error")


async def test_directives_call_tools_and_the_results_are_quoted(client: httpx.AsyncClient) -> None:
    prompt = {
        "role": "user",
        "content": '[[tool:look {"where":"up"}]] [[tool:stop]] [[tool:ghost]] [[say:Done.]]',
    }
    first = await ask(client, messages=[prompt], **TOOLS)
    assert [(block["name"], block["input"]) for block in first["content"]] == [
        ("look", {"where": "up"}),
        ("stop", {}),
    ]
    assert first["stop_reason"] == "tool_use"
    results = [
        {"type": "tool_result", "tool_use_id": block["id"], "content": f"result {number}"}
        for number, block in enumerate(first["content"])
    ]
    messages = [
        prompt,
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": results},
    ]
    second = await ask(client, messages=messages, **TOOLS)
    assert texts(second) == "The tool answered: result 0\nThe tool answered: result 1\nDone."
    assert second["stop_reason"] == "end_turn"


async def test_a_new_prompt_after_a_tool_loop_starts_afresh(client: httpx.AsyncClient) -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "stop", "input": {}}
    messages = [
        {"role": "user", "content": "[[tool:stop]]"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1"}]},
        {"role": "assistant", "content": "done"},
        {"role": "user", "content": "thanks"},
    ]
    assert texts(await ask(client, messages=messages, **TOOLS)) == "You said: thanks"


async def test_tools_are_called_with_inputs_from_their_schemas(client: httpx.AsyncClient) -> None:
    message = await ask(client, "tools-3", **TOOLS)
    calls = [block for block in message["content"] if block["type"] == "tool_use"]
    assert [call["name"] for call in calls] == ["look", "stop", "look"]
    assert calls[0]["input"] == {"where": "text"}
    assert len({call["id"] for call in calls}) == 3


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ({"type": "auto", "disable_parallel_tool_use": True}, ["look"]),
        ({"type": "none"}, []),
    ],
)
async def test_the_tool_choice_is_honoured(
    client: httpx.AsyncClient, choice: Any, called: list[str]
) -> None:
    message = await ask(client, "tools", tool_choice=choice, **TOOLS)
    assert [block["name"] for block in message["content"] if block["type"] == "tool_use"] == called


@pytest.mark.parametrize(
    ("choice", "called"), [({"type": "any"}, "look"), ({"type": "tool", "name": "stop"}, "stop")]
)
async def test_a_forced_tool_is_called(client: httpx.AsyncClient, choice: Any, called: str) -> None:
    message = await ask(client, tool_choice=choice, **TOOLS)
    assert [block["name"] for block in message["content"]] == [called]


async def test_thoughts_come_first_signed_and_hidden_when_asked(client: httpx.AsyncClient) -> None:
    shown = await ask(client, "thinking")
    hidden = await ask(client, "thinking", thinking={"type": "adaptive", "display": "omitted"})
    assert kinds(shown) == kinds(hidden) == ["thinking", "text"]
    assert shown["content"][0]["thinking"]
    assert hidden["content"][0]["thinking"] == ""
    assert hidden["content"][0]["signature"]
    assert shown["usage"]["output_tokens_details"]["thinking_tokens"] > 0


async def test_enabled_thinking_always_thinks_even_before_a_tool(client: httpx.AsyncClient) -> None:
    thinking = {"type": "enabled", "budget_tokens": 1024}
    prompt = {"role": "user", "content": "[[tool:stop]]"}
    first = await ask(client, messages=[prompt], thinking=thinking, **TOOLS)
    assert kinds(first) == ["thinking", "tool_use"]
    result = {"type": "tool_result", "tool_use_id": first["content"][1]["id"], "content": "ok"}
    messages = [
        prompt,
        {"role": "assistant", "content": first["content"]},
        {"role": "user", "content": [result]},
    ]
    assert kinds(await ask(client, messages=messages, thinking=thinking, **TOOLS)) == [
        "thinking",
        "text",
    ]


async def test_what_was_redacted_may_come_back(client: httpx.AsyncClient) -> None:
    message = await ask(client, "redacted")
    assert kinds(message) == ["redacted_thinking", "text"]
    again = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": "and?"},
    ]
    assert texts(await ask(client, messages=again)) == "You said: and?"


@pytest.mark.parametrize(("name", "count"), [("refusal", 0), ("refusal-1", 1)])
async def test_a_refusal_has_details_and_perhaps_text(
    client: httpx.AsyncClient, name: str, count: int
) -> None:
    message = await ask(client, name)
    assert (message["stop_reason"], message["stop_details"]["category"]) == ("refusal", "cyber")
    assert len(message["content"]) == count


async def test_text_ends_at_a_stop_sequence(client: httpx.AsyncClient) -> None:
    message = await ask(client, "stop-sequence", stop_sequences=["never", "END"])
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "never")
    assert texts(message) == "one two three four five "


async def test_the_earliest_stop_sequence_wins(client: httpx.AsyncClient) -> None:
    message = await ask(client, "long", stop_sequences=["four", "two"])
    assert (texts(message), message["stop_sequence"]) == ("one ", "two")


async def test_text_ends_at_max_tokens(client: httpx.AsyncClient) -> None:
    message = await ask(client, "long", max_tokens=2)
    assert (message["stop_reason"], texts(message), message["usage"]["output_tokens"]) == (
        "max_tokens",
        "one two ",
        2,
    )
    assert (await ask(client, "max-tokens"))["stop_reason"] == "max_tokens"


async def test_a_call_that_does_not_fit_is_not_made(client: httpx.AsyncClient) -> None:
    message = await ask(client, content='[[tool:look {"where":"up"}]]', max_tokens=1, **TOOLS)
    assert (message["content"], message["stop_reason"]) == ([], "max_tokens")


async def test_a_warm_up_writes_nothing(client: httpx.AsyncClient) -> None:
    message = await ask(client, max_tokens=0)
    assert (message["content"], message["usage"]["output_tokens"]) == ([], 0)


async def test_a_paused_turn_goes_on_when_it_is_sent_back(client: httpx.AsyncClient) -> None:
    first = await ask(client, "pause-turn")
    assert (first["stop_reason"], kinds(first)) == ("pause_turn", ["text", "server_tool_use"])
    messages = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": first["content"]},
    ]
    second = await ask(client, "pause-turn", messages=messages)
    assert second["stop_reason"] == "end_turn"
    assert kinds(second)[0] == "web_search_tool_result"


async def test_a_web_search_cites_what_it_found(client: httpx.AsyncClient) -> None:
    message = await ask(client, "web-search")
    assert kinds(message)[:2] == ["server_tool_use", "web_search_tool_result"]
    (cited,) = [block for block in message["content"] if block.get("citations")]
    assert cited["citations"][0]["url"] == "https://example.com/simulators"
    assert message["usage"]["server_tool_use"]["web_search_requests"] == 1


async def test_a_structured_reply_fits_its_schema(client: httpx.AsyncClient) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    message = await ask(client, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert texts(message) == '{"name":"text"}'


async def test_the_big_reply_has_its_size_and_the_empty_one_none(client: httpx.AsyncClient) -> None:
    assert len(texts(await ask(client, "big"))) == BIG_CHARACTERS
    assert (await ask(client, "empty"))["content"] == []


@pytest.mark.parametrize("status", [name for name in REFUSALS if name.isdigit()])
async def test_a_status_can_be_asked_for(client: httpx.AsyncClient, status: str) -> None:
    body = {
        "model": f"claude-sim-{status}-7",
        "max_tokens": 10,
        "messages": [{"role": "user", "content": "hi"}],
    }
    reply = await client.post("/v1/messages", json=body)
    assert reply.status_code == int(status)
    assert reply.json()["request_id"] == reply.headers["request-id"]
    assert reply.headers.get("retry-after") == ("7" if status == "429" else None)
    assert ("anthropic-ratelimit-requests-remaining" in reply.headers) == (status == "429")


async def test_a_throttled_login_keeps_its_window_and_an_exhausted_one_does_not(
    client: httpx.AsyncClient,
) -> None:
    client.headers.pop("x-api-key", None)
    headers = {
        "authorization": "Bearer sk-ant-oat01-any",
        "anthropic-beta": "oauth-2025-04-20",
    }
    for name, status in (("throttled-7", "allowed"), ("429-7", "rejected")):
        body = {
            "model": f"claude-sim-{name}",
            "max_tokens": 10,
            "messages": [{"role": "user", "content": "hi"}],
        }
        reply = await client.post("/v1/messages", json=body, headers=headers)
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "7")
        assert reply.headers["anthropic-ratelimit-unified-status"] == status


async def test_a_subscription_is_used_up_until_a_time(client: httpx.AsyncClient) -> None:
    body = {"model": "claude-sim-used-up-until-99999999999", "max_tokens": 10}
    reply = await client.post(
        "/v1/messages", json=body | {"messages": [{"role": "user", "content": "hi"}]}
    )
    assert reply.status_code == 429
    assert int(reply.headers["retry-after"]) > 0
    assert texts(await ask(client, "used-up-until-1000000000")) == "The window is open."
