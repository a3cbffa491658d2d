from __future__ import annotations

from typing import Any

import orjson
import pytest

from tests.unit.simulator.codex.conftest import Door, Json, backend_body, events, items, user

TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}
TIME = {
    "type": "function",
    "name": "time",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}
PATCH = {"type": "custom", "name": "apply_patch"}


def text(found: list[Json]) -> str:
    parts = [part for item in items(found) if item["type"] == "message" for part in item["content"]]
    return "".join(part.get("text", "") for part in parts)


async def test_the_prompt_is_echoed_with_every_secret(backend: Door) -> None:
    found = await backend.ask("hi there", instructions="SECRET-one")
    assert text(found) == "You said: hi there\nSeen: SECRET-one"


async def test_what_programs_add_is_not_the_prompt(backend: Door) -> None:
    asked = [user("the prompt"), user("<environment_context>here</environment_context>")]
    assert text(await backend.ask(input=asked)) == "You said: the prompt"


async def test_a_tool_loop_ends_in_a_quote_of_the_output(backend: Door) -> None:
    prompt = user('[[tool:weather {"city":"Bern"}]]')
    called = items(await backend.ask(input=[prompt], tools=[TOOL]))
    assert [(item["type"], item["name"], item["arguments"]) for item in called] == [
        ("function_call", "weather", '{"city":"Bern"}')
    ]
    output = {"type": "function_call_output", "call_id": called[0]["call_id"], "output": "rain"}
    assert (
        text(await backend.ask(input=[prompt, *called, output], tools=[TOOL]))
        == "The tool answered: rain"
    )


async def test_calls_are_parallel_unless_forbidden(backend: Door) -> None:
    said = "[[tool:weather]] [[tool:time]]"
    both = items(await backend.ask(said, tools=[TOOL, TIME]))
    assert len({item["call_id"] for item in both}) == 2
    assert len(items(await backend.ask(said, tools=[TOOL, TIME], parallel_tool_calls=False))) == 1


async def test_a_custom_tool_gets_text(backend: Door) -> None:
    [item] = items(await backend.ask('[[tool:apply_patch {"input":"*** Begin"}]]', tools=[PATCH]))
    assert (item["type"], item["input"]) == ("custom_tool_call", "*** Begin")


async def test_a_tool_in_a_namespace_is_called_by_it(backend: Door) -> None:
    space = {"type": "namespace", "name": "agents", "tools": [TOOL]}
    [item] = items(await backend.ask("[[tool:weather]]", tools=[space]))
    assert (item["name"], item["namespace"]) == ("weather", "agents")


@pytest.mark.parametrize(
    ("choice", "called"),
    [
        ("required", ["weather"]),
        ({"type": "function", "name": "time"}, ["time"]),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "time"}],
            },
            ["time"],
        ),
        ("none", []),
    ],
)
async def test_a_choice_is_obeyed(backend: Door, choice: Any, called: list[str]) -> None:
    found = items(await backend.ask("hi", tools=[TOOL, TIME], tool_choice=choice))
    assert [item["name"] for item in found if item["type"] == "function_call"] == called


async def test_a_schema_is_filled(backend: Door) -> None:
    schema = {"type": "object", "properties": {"city": {"const": "Bern"}}}
    form = {"type": "json_schema", "name": "n", "schema": schema}
    assert orjson.loads(text(await backend.ask(text={"format": form}))) == {"city": "Bern"}


async def test_reasoning_is_sealed_when_asked_for(backend: Door) -> None:
    thought = items(await backend.ask(model="gpt-sim-reasoning"))[0]
    assert len(thought["summary"]) == 2
    assert thought["encrypted_content"]
    bare = items(await backend.ask(model="gpt-sim-reasoning", include=[]))[0]
    assert bare["encrypted_content"] is None


async def test_several_tools_come_with_a_comment(backend: Door) -> None:
    found = items(await backend.ask(model="gpt-sim-tools", tools=[TOOL, TIME]))
    assert [item["type"] for item in found] == ["message", "function_call", "function_call"]
    assert found[0]["phase"] == "commentary"


@pytest.mark.parametrize(
    ("scenario", "kind", "code"),
    [
        ("failed", "response.failed", "rate_limit_exceeded"),
        ("context", "response.failed", "context_length_exceeded"),
        ("overloaded", "response.failed", "server_is_overloaded"),
        ("policy", "response.failed", "cyber_policy"),
        ("error", "error", "rate_limit_exceeded"),
    ],
)
async def test_a_failure_comes_in_the_stream(
    backend: Door, scenario: str, kind: str, code: str
) -> None:
    last = (await backend.ask(f"[[scenario:{scenario}]]"))[-1]
    assert last["type"] == kind
    assert (last["response"]["error"] if kind == "response.failed" else last)["code"] == code


@pytest.mark.parametrize(
    ("scenario", "reason"),
    [("max-tokens", "max_output_tokens"), ("content-filter", "content_filter")],
)
async def test_an_incomplete_response_says_why(backend: Door, scenario: str, reason: str) -> None:
    last = (await backend.ask(f"[[scenario:{scenario}]]"))[-1]
    assert last["type"] == "response.incomplete"
    assert last["response"]["incomplete_details"]["reason"] == reason


@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [("refusal", ["message"]), ("web-search", ["web_search_call", "message"])],
)
async def test_other_items_come(backend: Door, scenario: str, kinds: list[str]) -> None:
    assert [item["type"] for item in items(await backend.ask(f"[[scenario:{scenario}]]"))] == kinds


@pytest.mark.parametrize(
    ("scenario", "status", "said"),
    [
        ("400", 400, '"detail"'),
        ("401", 401, "token_invalidated"),
        ("403", 403, "Just a moment"),
        ("404", 404, "Not Found"),
        ("429-7", 429, "rate_limit_exceeded"),
        ("usage-limit-60", 429, '"resets_in_seconds":60'),
        ("usage-not-included", 429, "usage_not_included"),
        ("500", 500, "server_error"),
        ("503", 503, "server_is_overloaded"),
    ],
)
async def test_refusals_are_played_on_request(
    backend: Door, scenario: str, status: int, said: str
) -> None:
    reply = await backend.post(backend_body(f"[[scenario:{scenario}]]"))
    assert reply.status_code == status
    assert said in reply.text


async def test_no_such_scenario_is_refused(backend: Door) -> None:
    assert "plays no scenario" in (await backend.post(backend_body(model="gpt-sim-nothing"))).text


async def test_sizes_are_as_asked(backend: Door) -> None:
    assert len(text(await backend.ask("[[scenario:big-10000]]"))) == 10_000
    assert len(text(await backend.ask("[[scenario:long-30]]")).split()) == 30
    assert text(await backend.ask("[[scenario:slow-0x3]]")) == "one two three"
    assert items(await backend.ask("[[scenario:empty]]")) == []


async def test_pings_come_between(backend: Door) -> None:
    reply = await backend.post(backend_body("[[scenario:pings]]"))
    assert "keepalive" in {event["type"] for event in events(reply.content)}


async def test_a_plan_is_used_up_until_a_time(backend: Door) -> None:
    refused = await backend.post(backend_body("[[scenario:used-up-until-99999999999]]"))
    assert refused.status_code == 429
    assert "usage_limit_reached" in refused.text
    answered = await backend.ask("[[scenario:used-up-until-1000000000]]")
    assert text(answered) == "The window is open."
