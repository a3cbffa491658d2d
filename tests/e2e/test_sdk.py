"""`/sdk` on the running stack: real programs on three workers, killed, left and overrun; nothing is
heard twice.

The counts below are what two cores carry within a minute; `make soak` runs the same with more.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import orjson
import psutil
import pytest

from tests.support.open_responses import validate_events, validate_response
from tests.support.processes import command_line
from tests.support.simulator_fixture import GroundTruth, Seen
from tests.support.stack import DEADLINE, Stack, alive
from tests.support.turns import (
    ANSWERED,
    MODEL,
    WORKERS,
    ask,
    at_rest,
    breaks_off,
    client_of,
    is_answered,
    is_left,
    is_refused,
    kill_one,
    live_through,
    sdk_stack,
    stream,
)

TURNS_AT_ONCE, MAX_WAITING = 2, 8
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
    )
).decode()
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
WEATHER: Any = {"name": "get_weather", "description": "The weather of a city", "input_schema": CITY}
ASK_WEATHER = '[[tool:mcp__client__get_weather {"city": "Bern"}]]'

pytestmark = [pytest.mark.claude, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def root(_homes: Callable[[], Path]) -> Path:
    """Below it a request may choose where its tools work."""
    return _homes()


@pytest.fixture(scope="module")
def stack(_homes: Callable[[], Path], root: Path) -> Iterator[Stack]:
    yield from sdk_stack(
        _homes,
        SDK__MAX_TURNS_AT_ONCE=str(TURNS_AT_ONCE),
        SDK__MAX_WAITING=str(MAX_WAITING),
        SDK__WORKING_ROOTS=orjson.dumps([str(root)]).decode(),
    )


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(stack) as client:
        yield client


@pytest.fixture
async def truth(stack: Stack, http: httpx.AsyncClient) -> AsyncIterator[GroundTruth]:
    """What the provider sees of this test: it begins when nothing runs."""
    await at_rest(http)
    found = GroundTruth(stack.simulator_url)
    found.clear()
    yield found
    found.close()


def shape(seen: Seen) -> list[tuple[str, str, Any]]:
    """Roles with what they said, without what the program adds on its own."""
    found = []
    for message in seen.body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks:
            said = block.get("text") or block.get("id") or block.get("tool_use_id")
            if message["role"] != "system" and not str(block.get("text")).startswith(
                ("<system-reminder>", "[Image:")
            ):
                found.append((message["role"], block["type"], said))
    return found


async def test_nothing_of_a_request_reaches_another_and_nothing_of_it_stays(
    stack: Stack, http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    """A turn that takes too long is tried by the soak, and in tests/contract."""
    fates = [
        *ANSWERED,
        is_left,
        is_refused,
        breaks_off,
        is_answered,
        is_left,
        is_refused,
        breaks_off,
    ]
    await live_through(stack, http, truth, fates, at_once=MAX_WAITING)


async def test_a_killed_worker_takes_only_its_own_streams_along(
    stack: Stack, http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    killed = await kill_one(stack, http, truth, each=TURNS_AT_ONCE)
    assert killed.told < 10  # long before any timeout of a client
    assert killed.whole < 20
    await at_rest(http)


async def test_when_a_client_leaves_the_turn_ends_everywhere(
    http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    spares = await at_rest(http)
    await stream(http, ask("[[scenario:slow-50x1000]]"), leave=True)
    await truth.until(lambda requests: requests[-1].cancelled)
    late = time.monotonic() + DEADLINE
    while not (
        used := spares.keys() - (await at_rest(http)).keys()
    ):  # a worker tells of its pool now and then
        assert time.monotonic() < late, "the turn's program is still there"
    assert len(used) == 1
    assert not alive([spares[pid] for pid in used])


@pytest.mark.long
async def test_a_full_waiting_line_refuses_and_those_who_left_it_are_never_run(
    http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    slots = WORKERS * TURNS_AT_ONCE
    body = ask("[[scenario:hang]]")

    async def one() -> httpx.Response:
        return await http.post("/sdk/v1/messages", json=body)

    line = [asyncio.create_task(one()) for _ in range(MAX_WAITING + slots + 4)]
    done, waiting = await asyncio.wait(line, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE)
    for left in waiting:
        left.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert done
    for refused in (task.result() for task in done):
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "rate_limit_error")
        assert int(refused.headers["retry-after"]) > 0
    await at_rest(http)
    assert len(truth.requests("/v1/messages")) <= slots
    assert await is_answered(http, ask("[[say:and on]]"))


def ten_turns() -> list[dict[str, Any]]:
    """Text, images and tool pairs in turn; as the Messages format says it."""
    turns: list[dict[str, Any]] = []
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
    }
    for number in range(5):
        asked = [{"type": "text", "text": f"Q{number}"}, *([image] if number % 2 else [])]
        call = {
            "type": "tool_use",
            "id": f"toolu_{number}",
            "name": "look",
            "input": {"at": number},
        }
        result = {
            "type": "tool_result",
            "tool_use_id": f"toolu_{number}",
            "content": f"seen {number}",
        }
        turns += [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": [{"type": "text", "text": f"L{number}"}, call]},
            {"role": "user", "content": [result]},
            {"role": "assistant", "content": [{"type": "text", "text": f"A{number}"}]},
        ]
    return [*turns, {"role": "user", "content": [{"type": "text", "text": "[[say:the end]]"}]}]


@pytest.mark.long
async def test_the_official_anthropic_client_has_its_conversation_heard_as_it_is(
    stack: Stack, truth: GroundTruth
) -> None:
    turns = ten_turns()
    expected = [
        (
            turn["role"],
            block["type"],
            block.get("text") or block.get("id") or block.get("tool_use_id"),
        )
        for turn in turns
        for block in turn["content"]
    ]
    async with anthropic.AsyncAnthropic(
        base_url=f"{stack.url}/sdk", api_key="unused", max_retries=0
    ) as client:
        whole = await client.messages.create(**ask(turns))
        async with client.messages.stream(**ask(turns)) as streamed:
            assert await streamed.get_final_text() == "the end"
    assert [block.text for block in whole.content if block.type == "text"] == ["the end"]
    assert [shape(seen) for seen in truth.requests("/v1/messages")] == [expected, expected]


async def test_the_official_anthropic_client_has_its_tools_called(stack: Stack) -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": ASK_WEATHER}]
    async with anthropic.AsyncAnthropic(
        base_url=f"{stack.url}/sdk", api_key="unused", max_retries=0
    ) as client:
        async with client.messages.stream(**ask(turns, tools=[WEATHER])) as streamed:
            first = await streamed.get_final_message()
        [call] = [block for block in first.content if block.type == "tool_use"]
        assert (first.stop_reason, call.name, call.input) == (
            "tool_use",
            "get_weather",
            {"city": "Bern"},
        )
        turns += [
            {
                "role": "assistant",
                "content": [block.model_dump(exclude_none=True) for block in first.content],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}],
            },
        ]
        second = await client.messages.create(**ask(turns, tools=[WEATHER]))
    assert "sunny" in "".join(block.text for block in second.content if block.type == "text")


@pytest.mark.long
@pytest.mark.parametrize("text", ["[[say:hello]]", ASK_WEATHER])
async def test_every_response_and_event_of_sdk_keeps_the_public_standard(
    http: httpx.AsyncClient, text: str
) -> None:
    tool = {"type": "function", "name": "get_weather", "parameters": CITY}
    body = {"model": MODEL, "input": text, "tools": [tool]}
    whole = await http.post("/sdk/v1/responses", json=body)
    validate_response(whole.json())
    streamed = await http.post("/sdk/v1/responses", json=body | {"stream": True})
    assert validate_events(streamed.content)[-1] == "response.completed"


@pytest.mark.long
async def test_the_official_openai_client_is_streamed_to_and_has_its_tools_called(
    stack: Stack, truth: GroundTruth
) -> None:
    tool: Any = {"type": "function", "function": {"name": "get_weather", "parameters": CITY}}
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}}
    turns: list[Any] = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "Q1"}, picture]},
        {"role": "assistant", "content": "A1"},
        {"role": "user", "content": ASK_WEATHER},
    ]
    async with openai.AsyncOpenAI(
        base_url=f"{stack.url}/sdk/v1", api_key="unused", max_retries=0
    ) as client:
        first = (
            await client.chat.completions.create(model=MODEL, messages=turns, tools=[tool])
        ).choices[0]
        assert first.message.tool_calls is not None
        [call] = first.message.tool_calls
        assert first.finish_reason == "tool_calls"
        turns += [
            first.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]
        said = ""
        chunks = await client.chat.completions.create(
            model=MODEL, messages=turns, tools=[tool], stream=True
        )
        async for chunk in chunks:
            said += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert "sunny" in said
    assert shape(truth.last("/v1/messages")) == [
        ("user", "text", "Q1"),
        ("user", "image", None),
        ("assistant", "text", "A1"),
        ("user", "text", ASK_WEATHER),
        ("assistant", "tool_use", call.id),
        ("user", "tool_result", call.id),
    ]


def kept_by(stack: Stack) -> dict[int, int]:
    """The programs that wait for the next turn of a conversation, and whose they are."""
    children = [
        (child, pid)
        for pid in stack.supervised("sdk_worker")
        for child in psutil.Process(pid).children()
    ]
    arguments = {child.pid: (command_line(child), pid) for child, pid in children}
    return {
        child: pid
        for child, (line, pid) in arguments.items()
        if line and "--no-session-persistence" not in line
    }


@pytest.mark.long
async def test_a_named_conversation_keeps_its_process_and_outlives_its_worker(
    stack: Stack, http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    async def say(text: str) -> list[str]:
        await is_answered(http, ask(text, metadata={"session_id": "sticky"}))
        return [said for _, _, said in shape(truth.last("/v1/messages"))]

    before = kept_by(stack)
    await say("[[say:1]]")
    [(program, worker)] = kept_by(stack).items() - before.items()
    for number in (2, 3, 4):
        await say(f"[[say:{number}]]")
        assert kept_by(stack).items() - before.items() == {(program, worker)}
    psutil.Process(worker).kill()
    assert (await say("[[say:5]]"))[-3:] == ["[[say:4]]", "4", "[[say:5]]"]
    assert program not in kept_by(stack)


NAMINGS: dict[str, Callable[[str], dict[str, Any]]] = {
    "path": lambda name: {"url": f"/sdk/{name}/v1/messages"},
    "header": lambda name: {"url": "/sdk/v1/messages", "headers": {"x-session-id": name}},
    "metadata": lambda name: {
        "url": "/sdk/v1/messages",
        "json": {"metadata": {"session_id": name}},
    },
}


@pytest.mark.long
@pytest.mark.parametrize("named", NAMINGS)
async def test_a_named_conversation_goes_on_until_it_is_forgotten(
    http: httpx.AsyncClient, truth: GroundTruth, named: str
) -> None:
    async def say(text: str) -> list[str]:
        how = NAMINGS[named](f"by-{named}")
        reply = await http.post(**how | {"json": ask(text) | how.get("json", {})})
        assert reply.status_code == 200, reply.text
        return [said for _, _, said in shape(truth.last("/v1/messages"))]

    first, second = "[[say:one]]", "[[say:two]]"
    assert await say(first) == [first]
    assert await say(second) == [first, "one", second]
    assert f"by-{named}" in [
        each["name"] for each in (await http.get("/sdk/sessions")).json()["sessions"]
    ]
    assert (await http.delete(f"/sdk/sessions/by-{named}")).status_code == 200
    assert await say(second) == [second]


@pytest.mark.long
@pytest.mark.parametrize("path", ["/sdk/v1/messages", "/sdk/v1/chat/completions"])
async def test_a_request_chooses_its_directory_below_the_roots_only(
    http: httpx.AsyncClient, truth: GroundTruth, root: Path, path: str
) -> None:
    project = root / "project"
    project.mkdir(exist_ok=True)
    found = await http.post(path, json=ask("hi"), headers={"x-ccproxy-cwd": str(project)})
    assert found.status_code == 200, found.text
    assert str(project).encode() in truth.last("/v1/messages").raw
    refused = await http.post(path, json=ask("hi"), headers={"x-ccproxy-cwd": "/etc"})
    assert (refused.status_code, "SDK__WORKING_ROOTS" in refused.text) == (403, True)
