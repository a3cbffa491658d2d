"""Calls of custom tools wait for the client's result: one result each, and words where none comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sdk_worker.custom_tools import TOOL_USE_ID, CustomTools, ResultDesk
from shared.bus.channels import CustomCallNote, CustomResult, CustomTool, Turn, encode_payload
from shared.runtime.errors import NotFound

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER = CustomTool("weather", "The weather of a city", SCHEMA)
TURN = Turn("r1", {})
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}


class Delivered:
    """A result as the bus delivers it."""

    def __init__(self, request_id: str, tool_use_id: str, *content: Any, is_error: bool = False):
        self.payload = encode_payload(
            CustomResult(request_id, tool_use_id, list(content), is_error)
        )


def call(name: str = "weather", **meta: Any) -> dict[str, Any]:
    params = {"name": name, "arguments": {"city": "Bern"}, "_meta": meta}
    return {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": params}


CALL = call(**{TOOL_USE_ID: "t1"})


def words_of(reply: dict[str, Any]) -> str:
    assert reply["result"]["isError"] is True
    text: str = reply["result"]["content"][0]["text"]
    return text


class Notes(list[CustomCallNote]):
    """The notes of a turn; `news` is set by each."""

    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()

    def __call__(self, note: CustomCallNote) -> None:
        self.append(note)
        self.news.set()


async def test_the_tools_are_listed_as_the_client_wrote_them_and_may_be_called_at_once():
    tools = CustomTools([WEATHER], ResultDesk("w1", None))
    reply = await tools.answer({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})
    [listed] = reply["result"]["tools"]
    assert (listed["name"], listed["inputSchema"]) == ("weather", SCHEMA)
    assert listed["annotations"] == {"readOnlyHint": True}
    assert await tools.answer({"method": "notifications/initialized"})


async def test_a_call_is_noted_and_gets_the_clients_result_once():
    desk, notes = ResultDesk("w1", None), Notes()
    tools = CustomTools([WEATHER], desk)
    with tools.on_behalf(TURN, notes):
        answering = asyncio.create_task(tools.answer(CALL))
        await notes.news.wait()
        assert notes == [CustomCallNote("t1", "waiting", "w1")]
        assert tools.is_waiting
        for stranger in (Delivered("r2", "t1"), Delivered("r1", "t2")):
            with pytest.raises(NotFound):
                await desk.take(stranger)
        text = {"type": "text", "text": "Sunny."}
        await desk.take(Delivered("r1", "t1", text, IMAGE, is_error=True))
        with pytest.raises(NotFound):
            await desk.take(Delivered("r1", "t1", text))
        reply = await answering
    assert reply["result"] == {
        "content": [text, {"type": "image", "data": "AA==", "mimeType": "image/png"}],
        "isError": True,
    }
    assert not tools.is_waiting
    assert len(notes) == 1


async def test_a_call_without_a_result_ends_in_words_and_a_late_result_finds_nothing():
    desk, notes = ResultDesk("w1", 0.01), Notes()
    tools = CustomTools([WEATHER], desk)
    with tools.on_behalf(TURN, notes):
        reply = await tools.answer(CALL)
    assert "no result within 0.01 seconds" in words_of(reply)
    assert [note.state for note in notes] == ["waiting", "over"]
    assert "0.01 seconds" in notes[-1].message
    with pytest.raises(NotFound):
        await desk.take(Delivered("r1", "t1"))


async def test_a_call_that_the_program_takes_back_is_noted_as_over():
    desk, notes = ResultDesk("w1", None), Notes()
    tools = CustomTools([WEATHER], desk)
    with tools.on_behalf(TURN, notes):
        answering = asyncio.create_task(tools.answer(CALL))
        await notes.news.wait()
        answering.cancel()
        await asyncio.gather(answering, return_exceptions=True)
    assert [note.state for note in notes] == ["waiting", "over"]
    assert not tools.is_waiting


async def test_a_call_that_nobody_could_answer_ends_at_once():
    tools = CustomTools([WEATHER], ResultDesk("w1", None))
    assert "No turn" in words_of(await tools.answer(CALL))
    with tools.on_behalf(TURN, Notes()):
        assert "no tool 'other'" in words_of(await tools.answer(call("other")))
        assert "does not name its calls" in words_of(await tools.answer(call()))


@pytest.mark.parametrize(
    "params", [7, [], "weather", {"name": {}}, {"name": "weather", "_meta": 7}]
)
async def test_a_call_of_another_form_ends_at_once(params):
    tools = CustomTools([WEATHER], ResultDesk("w1", None))
    with tools.on_behalf(TURN, Notes()):
        reply = await tools.answer(CALL | {"params": params})
    assert reply["result"]["isError"]
