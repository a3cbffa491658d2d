"""`/sdk` on the running stack: real programs on three workers, killed, left and overrun; nothing is heard twice.

The counts below are what two cores carry within a minute; larger ones prove the same.
"""

from __future__ import annotations

import asyncio
import base64
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import orjson
import psutil
import pytest

from ccproxy.programs import find_script
from shared.channels import SDK_TURN
from shared.formats.sse import Parser
from tests.e2e.stack import DEADLINE, POLL, Stack, alive, simulated, simulators, stacks, until
from tests.simulator_fixture import GroundTruth, Seen

WORKERS, TURNS_AT_ONCE = 3, 3
REQUESTS = 64
FIRST_BYTE_SECONDS = 15  # for the requests that wait for it in vain; others must begin within it on a busy machine
FILES_BESIDE = 8  # connections to Redis that a worker opened under load and keeps
MODEL = "claude-sonnet-5-5"
SECRET = re.compile(rb"SECRET-[A-Za-z0-9]+")
PIXEL = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
        "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
    )
).decode()
CITY: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"name": "get_weather", "description": "The weather of a city", "input_schema": CITY}
ASK_WEATHER = '[[tool:mcp__client__get_weather {"city": "Bern"}]]'

pytestmark = [pytest.mark.claude, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def root(_homes: Callable[[], Path]) -> Path:
    """Below it a request may choose where its tools work."""
    return _homes()


@pytest.fixture(scope="module")
def stack(_homes: Callable[[], Path], root: Path) -> Iterator[Stack]:
    more = {
        "SDK__WORKERS": str(WORKERS),
        "SDK__MAX_TURNS_AT_ONCE": str(TURNS_AT_ONCE),
        "SDK__FIRST_BYTE_TIMEOUT_SECONDS": str(FIRST_BYTE_SECONDS),
        "CLAUDE__SDK_MESSAGE_MODE": "ignore",
        "SDK__WORKING_ROOTS": orjson.dumps([str(root)]).decode(),
    }
    for start_simulator in simulators(_homes):
        for start in stacks(find_script("ccproxy"), _homes, simulated(start_simulator()) | more):
            yield start().wait_ready()


@pytest.fixture
async def http(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=stack.url, timeout=120, limits=limits, trust_env=False) as client:
        yield client


@pytest.fixture
async def truth(stack: Stack, http: httpx.AsyncClient) -> AsyncIterator[GroundTruth]:
    """What the provider sees of this test: it begins when nothing runs."""
    await at_rest(http)
    found = GroundTruth(stack.simulator_url)
    found.clear()
    yield found
    found.close()


async def eventually(condition: Callable[[], Awaitable[Any]], what: str) -> Any:
    late = time.monotonic() + DEADLINE
    while not (found := await condition()):
        assert time.monotonic() < late, f"waited {DEADLINE} s for {what}"
        await asyncio.sleep(POLL)
    return found


async def status(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    workers: list[dict[str, Any]] = (await http.get("/sdk/status")).json()["workers"]
    return workers


async def at_rest(http: httpx.AsyncClient) -> dict[int, psutil.Process]:
    """The `claude` of every worker, by pid, once none works and every spare is there."""

    async def rested() -> dict[int, psutil.Process]:
        workers = await status(http)
        if len(workers) != WORKERS or not all(worker.get("idle") == worker.get("size", -1) for worker in workers):
            return {}
        if any(worker["busy"] or worker["waiting"] for worker in workers):
            return {}
        found = {child.pid: child for worker in workers for child in psutil.Process(worker["pid"]).children()}
        wanted = sum(worker["idle"] + worker["sessions"] for worker in workers)
        return found if len(found) == wanted else {}

    found: dict[int, psutil.Process] = await eventually(rested, f"{WORKERS} whole pools")
    return found


def ask(content: Any, **more: Any) -> dict[str, Any]:
    messages = content if isinstance(content, list) else [{"role": "user", "content": content}]
    return {"model": MODEL, "max_tokens": 1024, "messages": messages, **more}


async def stream(
    http: httpx.AsyncClient, body: dict[str, Any], begun: asyncio.Semaphore | None = None, *, leave: bool = False
) -> list[dict[str, Any]]:
    """The events of a reply, or as many as came before the client left after the first word."""
    parser, events = Parser(), []
    async with http.stream("POST", "/sdk/v1/messages", json=body | {"stream": True}) as reply:
        assert reply.status_code == 200, await reply.aread()
        async for chunk in reply.aiter_raw():
            for event in parser.feed(chunk):
                events.append(orjson.loads(event.data))
                if events[-1]["type"] == "content_block_delta":
                    if leave:
                        return events
                    if begun is not None:
                        begun.release()
                        begun = None
    return events


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta")


def shape(seen: Seen) -> list[tuple[str, str, Any]]:
    """Roles with what they said, without what the program adds on its own."""
    found = []
    for message in seen.body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        for block in blocks:
            said = block.get("text") or block.get("id") or block.get("tool_use_id")
            if message["role"] != "system" and not str(block.get("text")).startswith(("<system-reminder>", "[Image:")):
                found.append((message["role"], block["type"], said))
    return found


# What becomes of a request that carries a secret. Each fails when its own end does not come.


async def is_answered(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    reply = await http.post("/sdk/v1/messages", json=body)
    assert reply.status_code == 200, reply.text
    return reply.text


async def is_answered_to_openai(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    messages = [{"role": "system", "content": body["system"]}, *body["messages"]]
    reply = await http.post("/sdk/v1/chat/completions", json={"model": MODEL, "messages": messages})
    assert reply.status_code == 200, reply.text
    return reply.text


async def is_streamed(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    events = await stream(http, body)
    assert events[-1]["type"] == "message_stop"
    return text_of(events)


async def is_refused(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    reply = await http.post("/sdk/v1/messages", json=directed(body, "429-30"))
    assert (reply.status_code, reply.json()["error"]["type"]) == (429, "rate_limit_error")
    return ""


async def breaks_off(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    events = await stream(http, directed(body, "error-5"))
    assert events[-1]["type"] == "error"
    return ""


async def is_left(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    await stream(http, directed(body, "slow-50x1000"), leave=True)
    return ""


async def takes_too_long(http: httpx.AsyncClient, body: dict[str, Any]) -> str:
    reply = await http.post("/sdk/v1/messages", json=directed(body, "hang"))
    assert (reply.status_code, reply.json()["error"]["type"]) == (504, "timeout_error")
    return ""


def directed(body: dict[str, Any], scenario: str) -> dict[str, Any]:
    *history, prompt = body["messages"]
    return body | {"messages": [*history, prompt | {"content": f"[[scenario:{scenario}]] {prompt['content']}"}]}


ANSWERED = (is_answered, is_streamed, is_answered_to_openai)
FAILING = (is_left, is_refused, breaks_off, is_left, is_answered, is_refused, breaks_off, takes_too_long)
FATES = [fate for failing in FAILING for fate in (*ANSWERED, failing)]


async def test_nothing_of_a_request_reaches_another_and_nothing_of_it_stays(
    stack: Stack, http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    """Every path a turn can take, beside each other; then the workers are as they were."""
    workers = [psutil.Process(worker["pid"]) for worker in await status(http)]
    files = [worker.num_fds() for worker in workers]
    secrets = [f"SECRET-x{number}x" for number in range(REQUESTS)]

    line = asyncio.Semaphore(SDK_TURN.max_length)

    async def one(number: int, secret: str) -> None:
        history = [{"role": "user", "content": f"I am {secret}."}, {"role": "assistant", "content": f"Hello {secret}."}]
        body = ask([*history, {"role": "user", "content": f"Who am I? {secret}"}], system=f"Serve {secret}.")
        fate = FATES[number % len(FATES)]
        async with line:
            heard = await fate(http, body)
        if fate in ANSWERED:
            assert set(SECRET.findall(heard.encode())) == {secret.encode()}

    async with asyncio.TaskGroup() as tasks:
        for number, secret in enumerate(secrets):
            tasks.create_task(one(number, secret))

    await at_rest(http)
    told = [set(SECRET.findall(seen.raw)) for seen in truth.requests("/v1/messages")]
    assert all(len(each) == 1 for each in told)
    assert set.union(*told) == {secret.encode() for secret in secrets}
    assert [worker.is_running() for worker in workers] == [True] * WORKERS
    for worker, before in zip(workers, files, strict=True):
        assert worker.num_fds() <= before + FILES_BESIDE
        assert len(alive(worker.children())) == len(worker.children())
    assert not orphans(stack)


def orphans(stack: Stack) -> list[psutil.Process]:
    """A `claude` of this stack whose worker is gone."""
    mine = str(stack.home)
    found = []
    for process in psutil.process_iter(["name", "ppid", "environ"]):
        environment = process.info["environ"] or {}
        if process.info["name"] == "claude" and process.info["ppid"] == 1 and environment.get("HOME") == mine:
            found.append(process)
    return found


async def test_a_killed_worker_takes_only_its_own_streams_along(
    stack: Stack, http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    begun = asyncio.Semaphore(0)
    body = ask("[[scenario:slow-100x180]]")
    streams = [asyncio.create_task(stream(http, body, begun)) for _ in range(WORKERS * TURNS_AT_ONCE)]
    for _ in streams:
        await begun.acquire()

    async def busy() -> bool:
        return [worker["busy"] for worker in await status(http)] == [TURNS_AT_ONCE] * WORKERS

    await eventually(busy, "every worker to be full")
    programs = psutil.Process(stack.supervised("sdk_worker")[0]).children()
    killed = stack.kill("sdk_worker")
    ends = [events[-1] for events in await asyncio.gather(*streams)]
    lost = [end for end in ends if end["type"] != "message_stop"]
    assert len(lost) == TURNS_AT_ONCE
    assert all(end["type"] == "error" and "process working on this request is gone" in str(end) for end in lost)
    until(lambda: not alive(programs), "the end of what the killed worker ran")
    cut = [seen for seen in truth.requests("/v1/messages") if seen.cancelled]
    assert len(cut) == TURNS_AT_ONCE
    await at_rest(http)
    assert killed not in [worker["pid"] for worker in await status(http)]


async def test_when_a_client_leaves_the_turn_ends_everywhere(http: httpx.AsyncClient, truth: GroundTruth) -> None:
    spares = await at_rest(http)
    await stream(http, ask("[[scenario:slow-50x1000]]"), leave=True)
    await truth.until(lambda requests: requests[-1].cancelled)
    late = time.monotonic() + DEADLINE
    while not (used := spares.keys() - (await at_rest(http)).keys()):  # a worker tells of its pool now and then
        assert time.monotonic() < late, "the turn's program is still there"
    assert len(used) == 1
    assert not alive([spares[pid] for pid in used])


async def test_a_full_waiting_line_refuses_and_those_who_left_it_are_never_run(
    http: httpx.AsyncClient, truth: GroundTruth
) -> None:
    slots = WORKERS * TURNS_AT_ONCE
    body = ask("[[scenario:hang]]")

    async def one() -> httpx.Response:
        return await http.post("/sdk/v1/messages", json=body)

    line = [asyncio.create_task(one()) for _ in range(SDK_TURN.max_length + slots + 4)]
    done, waiting = await asyncio.wait(line, return_when=asyncio.FIRST_COMPLETED, timeout=DEADLINE)
    for left in waiting:
        left.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert done
    for refused in (task.result() for task in done):
        assert (refused.status_code, refused.json()["error"]["type"]) == (429, "overloaded_error")
        assert int(refused.headers["retry-after"]) > 0
    await at_rest(http)
    assert len(truth.requests("/v1/messages")) <= slots
    assert await is_answered(http, ask("[[say:and on]]"))


def ten_turns() -> list[dict[str, Any]]:
    """Text, images and tool pairs in turn; as the Messages format says it."""
    turns: list[dict[str, Any]] = []
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    for number in range(5):
        asked = [{"type": "text", "text": f"Q{number}"}, *([image] if number % 2 else [])]
        call = {"type": "tool_use", "id": f"toolu_{number}", "name": "look", "input": {"at": number}}
        result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": f"seen {number}"}
        turns += [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": [{"type": "text", "text": f"L{number}"}, call]},
            {"role": "user", "content": [result]},
            {"role": "assistant", "content": [{"type": "text", "text": f"A{number}"}]},
        ]
    return [*turns, {"role": "user", "content": [{"type": "text", "text": "[[say:the end]]"}]}]


async def test_the_official_anthropic_client_has_its_conversation_heard_as_it_is(
    stack: Stack, truth: GroundTruth
) -> None:
    turns = ten_turns()
    expected = [
        (turn["role"], block["type"], block.get("text") or block.get("id") or block.get("tool_use_id"))
        for turn in turns
        for block in turn["content"]
    ]
    async with anthropic.AsyncAnthropic(base_url=f"{stack.url}/sdk", api_key="unused", max_retries=0) as client:
        whole = await client.messages.create(**ask(turns))
        async with client.messages.stream(**ask(turns)) as streamed:
            assert await streamed.get_final_text() == "the end"
    assert [block.text for block in whole.content if block.type == "text"] == ["the end"]
    assert [shape(seen) for seen in truth.requests("/v1/messages")] == [expected, expected]


async def test_the_official_anthropic_client_has_its_tools_called(stack: Stack) -> None:
    turns: list[dict[str, Any]] = [{"role": "user", "content": ASK_WEATHER}]
    async with anthropic.AsyncAnthropic(base_url=f"{stack.url}/sdk", api_key="unused", max_retries=0) as client:
        async with client.messages.stream(**ask(turns, tools=[WEATHER])) as streamed:
            first = await streamed.get_final_message()
        [call] = [block for block in first.content if block.type == "tool_use"]
        assert (first.stop_reason, call.name, call.input) == ("tool_use", "get_weather", {"city": "Bern"})
        turns += [
            {"role": "assistant", "content": [block.model_dump(exclude_none=True) for block in first.content]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]},
        ]
        second = await client.messages.create(**ask(turns, tools=[WEATHER]))
    assert "sunny" in "".join(block.text for block in second.content if block.type == "text")


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
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/sdk/v1", api_key="unused", max_retries=0) as client:
        first = (await client.chat.completions.create(model=MODEL, messages=turns, tools=[tool])).choices[0]
        assert first.message.tool_calls is not None
        [call] = first.message.tool_calls
        assert first.finish_reason == "tool_calls"
        turns += [
            first.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
        ]
        said = ""
        chunks = await client.chat.completions.create(model=MODEL, messages=turns, tools=[tool], stream=True)
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


NAMINGS: dict[str, Callable[[str], dict[str, Any]]] = {
    "path": lambda name: {"url": f"/sdk/{name}/v1/messages"},
    "header": lambda name: {"url": "/sdk/v1/messages", "headers": {"x-session-id": name}},
    "metadata": lambda name: {"url": "/sdk/v1/messages", "json": {"metadata": {"session_id": name}}},
}


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
    assert f"by-{named}" in [each["name"] for each in (await http.get("/sdk/sessions")).json()["sessions"]]
    assert (await http.delete(f"/sdk/sessions/by-{named}")).status_code == 200
    assert await say(second) == [second]


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
