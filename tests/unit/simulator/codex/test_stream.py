from __future__ import annotations

from itertools import pairwise

from tests.unit.simulator.codex.conftest import Door, events, items

TOOL = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}


async def test_events_are_numbered_and_the_limits_come_first(backend: Door) -> None:
    found = await backend.ask()
    assert found[0]["type"] == "codex.rate_limits"
    assert found[0]["rate_limits"]["primary"]["window_minutes"] == 300
    assert [event["sequence_number"] for event in found] == list(range(len(found)))


async def test_deltas_add_up_to_the_item(backend: Door) -> None:
    found = await backend.ask(
        '[[tool:weather {"city":"Bern in the rain"}]]', model="gpt-sim-reasoning", tools=[TOOL]
    )
    thought, call = items(found)
    for number, part in enumerate(thought["summary"]):
        deltas = [
            event["delta"]
            for event in found
            if event["type"] == "response.reasoning_summary_text.delta"
            and event["summary_index"] == number
        ]
        assert len(deltas) > 1
        assert "".join(deltas) == part["text"]
    pieces = [
        event["delta"]
        for event in found
        if event["type"] == "response.function_call_arguments.delta"
    ]
    assert len(pieces) > 1
    assert "".join(pieces) == call["arguments"]


async def test_the_seal_on_an_announced_item_is_provisional(backend: Door) -> None:
    found = await backend.ask(model="gpt-sim-reasoning")
    announced = next(
        event["item"] for event in found if event["type"] == "response.output_item.added"
    )
    assert announced["id"] == items(found)[0]["id"]
    assert announced["encrypted_content"] != items(found)[0]["encrypted_content"]


async def test_items_follow_each_other(backend: Door) -> None:
    found = await backend.ask(model="gpt-sim-tools", tools=[TOOL])
    kinds = [event["type"] for event in found if event["type"].startswith("response.output_item")]
    assert all(first != second for first, second in pairwise(kinds))


async def test_the_backends_last_event_tells_no_output_and_the_public_one_does(
    backend: Door, public: Door
) -> None:
    assert (await backend.ask())[-1]["response"]["output"] == []
    reply = await public.post({"model": "gpt-5.5", "input": "hi", "stream": True})
    last = events(reply.content)[-1]
    assert last["response"]["output"] == items(events(reply.content))
