"""Why a prompt was not read from the provider's cache: conversations as clients send them, counted by
strict caches, and the explanation of each request.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from analytics.recent_prompts import RecentPrompts
from shared.accounts.prices import Prices
from shared.bus.channels import ACCESS_RECORD, AccessRecord
from shared.bus.records import unpack
from tests.conftest import BusFactory
from tests.contract.conftest import OpenGateway
from tests.support.cached_conversations import (
    SONNET,
    CountingProvider,
    Json,
    Step,
    TextOf,
    changed,
    codex_item,
    codex_request,
    conversation,
    marked,
    next_turn,
    text_block,
    tool,
    unmarked,
)
from tests.support.codex import codex_settings
from tests.support.simulator_fixture import GroundTruth

FIRST = {"cause": "first", "words": "first request of this conversation"}
MINUTE = 60.0


def begun(body: Json, **facts: Any) -> Step:
    return Step(body, **FIRST, **facts)


# --- hits: nothing is explained, and nothing is counted as a miss -----------------------------


def growing(text: TextOf) -> list[Step]:
    body = conversation(text)
    steps = [begun(body)]
    for _ in range(5):
        body = next_turn(body, text)
        steps.append(Step(body))
    return steps


def retried(text: TextOf) -> list[Step]:
    body = conversation(text)
    return [begun(body), Step(body), Step(body)]


def retried_after_a_refusal(text: TextOf) -> list[Step]:
    body = conversation(text)
    longer = next_turn(body, text)
    return [begun(body), Step(longer, fails=True), Step(longer)]


def two_agents(text: TextOf) -> list[Step]:
    one, two = conversation(text), conversation(text, 2)
    two["tools"] = one["tools"][:2]
    return [
        begun(one),
        begun(two, agent="a1"),
        Step(next_turn(one, text)),
        Step(next_turn(two, text), agent="a1"),
        Step(next_turn(one, text, 2)),
    ][:4]


def two_sessions(text: TextOf) -> list[Step]:
    one, two = conversation(text), conversation(text)
    return [
        begun(one, session="one"),
        begun(two, session="two"),
        Step(next_turn(one, text), session="one"),
        Step(next_turn(two, text), session="two"),
    ]


def two_callers_of_one_name(text: TextOf) -> list[Step]:
    return [begun(conversation(text)), begun(conversation(text), caller="other")]


def texts_become_blocks(text: TextOf) -> list[Step]:
    body = conversation(text)
    body["messages"].insert(0, {"role": "user", "content": text()})
    body["messages"].insert(1, {"role": "assistant", "content": text()})
    other = next_turn(body, text)
    for message in other["messages"][:2]:
        message["content"] = [text_block(message["content"])]
    return [begun(body), Step(other)]


def marked_as_a_whole(text: TextOf) -> list[Step]:
    whole = {"cache_control": {"type": "ephemeral"}}
    body = unmarked(conversation(text)) | whole
    longer = unmarked(next_turn(body, text)) | whole
    return [begun(body), Step(longer)]


def pauses_within_five_minutes(text: TextOf) -> list[Step]:
    body = conversation(text)
    steps = [begun(body)]
    for _ in range(3):
        body = next_turn(body, text)
        steps.append(Step(body, after=4 * MINUTE))
    return steps


def pause_within_an_hour(text: TextOf) -> list[Step]:
    body = conversation(text, ttl="1h")
    return [begun(body), Step(next_turn(body, text, ttl="1h"), after=50 * MINUTE)]


def images(text: TextOf) -> list[Step]:
    body = with_image(conversation(text), "iVBORw0KGgo=")
    return [begun(body), Step(next_turn(body, text))]


def requests_beside(text: TextOf) -> list[Step]:
    body = conversation(text)
    title = {
        "model": SONNET,
        "system": [text_block(text(1500))],
        "messages": [copy.deepcopy(unmarked(body)["messages"][0])],
    }
    return [begun(body), begun(marked(title)), Step(next_turn(body, text)), Step(marked(title))]


def mark_within_a_result(text: TextOf) -> list[Step]:
    body = unmarked(conversation(text))
    part = text_block(text()) | {"cache_control": {"type": "ephemeral"}}
    body["messages"][-1]["content"][0]["content"] = [part]
    longer = copy.deepcopy(body)
    del longer["messages"][-1]["content"][0]["content"][0]["cache_control"]
    return [begun(body), Step(next_turn(longer, text))]


def parallel_tools(text: TextOf) -> list[Step]:
    body = conversation(text)
    longer = unmarked(body)
    calls = [{"type": "tool_use", "id": f"p{n}", "name": "Grep", "input": {}} for n in range(4)]
    results = [
        {"type": "tool_result", "tool_use_id": f"p{n}", "content": text(30)} for n in range(4)
    ]
    longer["messages"] += [
        {"role": "assistant", "content": calls},
        {"role": "user", "content": results},
    ]
    return [begun(body), Step(marked(longer))]


# --- the prompt changed -------------------------------------------------------------------------


def with_image(body: Json, data: str) -> Json:
    body = copy.deepcopy(body)
    source = {"type": "base64", "media_type": "image/png", "data": data}
    body["messages"][0]["content"].append({"type": "image", "source": source})
    return body


def tools_changed(words: str, change: Callable[[list[Json]], list[Json]]) -> Callable[..., Any]:
    def steps(text: TextOf) -> list[Step]:
        body = conversation(text)
        after = next_turn(changed(body, tools=change(copy.deepcopy(body["tools"]))), text)
        return [begun(body), Step(after, "tools", words), Step(next_turn(after, text))]

    return steps


def system_changed(words: str, change: Callable[[list[Json]], Any]) -> Callable[..., Any]:
    def steps(text: TextOf) -> list[Step]:
        body = conversation(text)
        after = next_turn(changed(body, system=change(copy.deepcopy(body["system"]))), text)
        return [begun(body), Step(after, "system", words), Step(next_turn(after, text))]

    return steps


def messages_changed(
    words: str, change: Callable[[list[Json], TextOf], None], turns: int = 6
) -> Callable[..., Any]:
    def steps(text: TextOf) -> list[Step]:
        body = conversation(text, turns)
        after = next_turn(body, text)
        change(after["messages"], text)
        return [begun(body), Step(marked(after), "messages", words), Step(next_turn(after, text))]

    return steps


def rewrite(*places: int) -> Callable[[list[Json], TextOf], None]:
    """Other texts in the messages at these places, counted from 1."""

    def change(messages: list[Json], text: TextOf) -> None:
        for place in places:
            message = messages[place - 1]
            block = message["content"][0]
            if block["type"] == "tool_result":
                block["content"] = text(20)
            elif block["type"] == "tool_use":
                block["input"] = {"path": text(3)}
            else:
                block["text"] = text()

    return change


def insert(place: int, count: int) -> Callable[[list[Json], TextOf], None]:
    def change(messages: list[Json], text: TextOf) -> None:
        messages[place - 1 : place - 1] = [
            {"role": "user", "content": [text_block(text())]} for _ in range(count)
        ]

    return change


def remove(place: int, count: int) -> Callable[[list[Json], TextOf], None]:
    def change(messages: list[Json], text: TextOf) -> None:
        del messages[place - 1 : place - 1 + count]

    return change


def image_replaced(text: TextOf) -> list[Step]:
    body = with_image(conversation(text), "iVBORw0KGgo=")
    after = next_turn(copy.deepcopy(body), text)
    after["messages"][0]["content"][-1]["source"]["data"] = "R0lGODlhAQ=="
    return [begun(body), Step(after, "messages", "message 1 was rewritten")]


def compacted(text: TextOf) -> list[Step]:
    body = conversation(text, 20)
    summary = changed(body, messages=[{"role": "user", "content": [text_block(text(900))]}])
    after = marked(summary)
    return [
        begun(body),
        Step(after, "shortened", "shortened from 41 messages to 1 message"),
        Step(next_turn(after, text)),
    ]


def compacted_after_the_first_message(text: TextOf) -> list[Step]:
    body = conversation(text, 20)
    after = unmarked(body)
    after["messages"] = [after["messages"][0], {"role": "user", "content": [text_block(text(900))]}]
    return [begun(body), Step(marked(after), "shortened", "from 41 messages to 2 messages")]


def another_conversation(text: TextOf) -> list[Step]:
    body = conversation(text, 1)
    other = changed(body, messages=conversation(text, 1)["messages"])
    return [
        begun(body),
        Step(marked(other), "new_messages", "every message is new"),
        Step(next_turn(body, text)),
        Step(next_turn(other, text)),
    ]


def rewound(text: TextOf) -> list[Step]:
    body = conversation(text, 6)
    after = changed(body, messages=unmarked(body)["messages"][:5])
    return [begun(body), Step(marked(after), "rewound", "goes on from before message 6")]


def last_message_edited(text: TextOf) -> list[Step]:
    body = conversation(text)
    after = copy.deepcopy(body)
    after["messages"][-1]["content"] = [text_block(text(300))]
    return [begun(body), Step(marked(after), "messages", "message 9 was rewritten")]


def long_conversation(text: TextOf) -> list[Step]:
    short = [{"role": "user", "content": f"{text(8)} {number}"} for number in range(3000)]
    body = marked(changed(conversation(text), messages=short))
    after = unmarked(next_turn(body, text))
    after["messages"][99] = {"role": "user", "content": "something else"}
    return [
        begun(body),
        Step(next_turn(body, text)),
        Step(marked(after), "messages", "one of the messages 97 to 100 was rewritten"),
    ]


# --- something else changed ---------------------------------------------------------------------


def model_changed(text: TextOf) -> list[Step]:
    body = conversation(text)
    after = changed(next_turn(body, text), model=SONNET)
    return [
        begun(body),
        Step(after, "model", "changed from claude-opus-4-1 to claude-sonnet-4-5"),
        Step(next_turn(after, text)),
    ]


def model_changed_and_back(text: TextOf) -> list[Step]:
    body = conversation(text)
    other = changed(next_turn(body, text, 3), model=SONNET)
    back = changed(next_turn(other, text), model=body["model"])
    return [begun(body), Step(other, "model"), Step(back, "model", "to claude-opus-4-1")]


def account_changed(text: TextOf) -> list[Step]:
    body = conversation(text)
    words = "the API key paid instead of the subscription"
    return [begun(body), Step(next_turn(body, text), "account", words, billed_to="api_key")]


def setting_changed(name: str, value: Json) -> Callable[..., Any]:
    def steps(text: TextOf) -> list[Step]:
        body = conversation(text)
        after = changed(next_turn(body, text), **{name: value})
        return [begun(body), Step(after, "settings", f"{name} changed")]

    return steps


def idle(minutes: float, words: str, ttl: str = "5m") -> Callable[..., Any]:
    def steps(text: TextOf) -> list[Step]:
        body = conversation(text, ttl=ttl)
        after = next_turn(body, text, ttl=ttl)
        return [begun(body), Step(after, "idle", words, after=minutes * MINUTE)]

    return steps


def idle_messages_of_a_kept_system(text: TextOf) -> list[Step]:
    body = marked(conversation(text), system_ttl="1h")
    after = marked(next_turn(body, text), system_ttl="1h")
    words = "cache keeps a prompt for 5 minutes"
    return [begun(body), Step(after, "idle", words, after=30 * MINUTE)]


def idle_and_rewritten(text: TextOf) -> list[Step]:
    body = conversation(text)
    after = next_turn(body, text)
    rewrite(3)(after["messages"], text)
    return [begun(body), Step(after, "idle", after=20 * MINUTE)]


def idle_and_compacted(text: TextOf) -> list[Step]:
    body = conversation(text, 20)
    summary = changed(body, messages=[{"role": "user", "content": [text_block(text(900))]}])
    return [begun(body), Step(marked(summary), "shortened", after=20 * MINUTE)]


def marks_removed(text: TextOf) -> list[Step]:
    body = conversation(text)
    return [begun(body), Step(unmarked(next_turn(body, text)), "unmarked", "no longer marks")]


def never_marked(text: TextOf) -> list[Step]:
    body = unmarked(conversation(text))
    return [Step(body, "unmarked", "marks nothing"), Step(body, "unmarked", "marks nothing")]


def mark_moved_back(text: TextOf) -> list[Step]:
    body = conversation(text)
    after = unmarked(next_turn(body, text))
    after["system"][-1]["cache_control"] = {"type": "ephemeral"}
    return [begun(body), Step(after, "marks", "marks less of the prompt")]


def too_many_blocks(text: TextOf) -> list[Step]:
    body = conversation(text)
    words = "24 blocks were added after the last marked one"
    return [begun(body), Step(next_turn(body, text, 12), "lookback", words)]


def short_mark(text: TextOf) -> list[Step]:
    body = unmarked(conversation(text))
    body["tools"] = []
    body["system"] = [text_block(text(50)) | {"cache_control": {"type": "ephemeral"}}]
    body["messages"][0]["content"][0]["text"] = text(2000)
    return [Step(body, "short", "shorter than the model's minimum"), Step(body, "short")]


def sent_beside(text: TextOf) -> list[Step]:
    body = conversation(text)
    words = "before the reply to the request before it had begun"
    return [begun(body), Step(next_turn(body, text), "parallel", words, beside=True)]


def evicted(text: TextOf) -> list[Step]:
    body = conversation(text)
    words = "the provider no longer had it"
    return [begun(body), Step(next_turn(body, text), "dropped", words, evicted=True)]


def told_by_the_provider(text: TextOf) -> list[Step]:
    body = conversation(text)
    after = next_turn(body, text)
    words = "an earlier message changed, as the provider says"
    return [begun(body), Step(after, "messages", words, evicted=True, told="messages_changed")]


def told_and_found(text: TextOf) -> list[Step]:
    body = conversation(text)
    after = next_turn(changed(body, tools=body["tools"][:-1]), text)
    return [begun(body), Step(after, "tools", "Grep removed", told="tools_changed")]


def told_at_the_first_request(text: TextOf) -> list[Step]:
    body = conversation(text)
    return [Step(body, "system", "as the provider says", told="system_changed")]


# --- how records arrive -------------------------------------------------------------------------


def out_of_order(text: TextOf) -> list[Step]:
    body = conversation(text)
    changed_tools = next_turn(changed(body, tools=body["tools"][:-1]), text)
    return [
        begun(body),
        Step(changed_tools, "tools", "Grep removed", late=True),
        Step(next_turn(changed_tools, text)),
        Step(next_turn(next_turn(changed_tools, text), text)),
    ][:3]


def doubled(text: TextOf) -> list[Step]:
    body = conversation(text)
    after = next_turn(changed(body, tools=[*body["tools"], tool("Edit")]), text)
    return [
        begun(body, twice=True),
        Step(after, "tools", "Edit added", twice=True),
        Step(next_turn(after, text)),
    ]


def restarted(text: TextOf) -> list[Step]:
    body = conversation(text)
    after = next_turn(changed(body, tools=[*body["tools"], tool("Edit")]), text)
    return [
        begun(body),
        Step(after, "tools", "Edit added", restarted=True),
        Step(next_turn(after, text), restarted=True),
    ]


def restarted_and_idle(text: TextOf) -> list[Step]:
    body = conversation(text)
    after = next_turn(body, text)
    return [begun(body), Step(after, "idle", "8 minutes", after=8 * MINUTE, restarted=True)]


# --- Responses ----------------------------------------------------------------------------------


def codex_growing(text: TextOf) -> list[Step]:
    body = codex_request(text)
    longer = changed(body, input=[*body["input"], codex_item(text, 7), codex_item(text, 8)])
    for item in longer["input"]:
        del item["id"]
    return [begun(body), Step(longer)]


def codex_changed(cause: str, words: str, **parts: Any) -> Callable[..., Any]:
    def steps(text: TextOf) -> list[Step]:
        body = codex_request(text)
        after = changed(body, **parts)
        after["input"] = [*after["input"], codex_item(text, 7)]
        return [begun(body), Step(after, cause, words)]

    return steps


def codex_rewritten(text: TextOf) -> list[Step]:
    body = codex_request(text, 20)
    after = changed(body, input=[*copy.deepcopy(body["input"]), codex_item(text, 21)])
    after["input"][4]["content"][0]["text"] = text(10)
    return [begun(body), Step(after, "messages", "input item 5 was rewritten")]


def codex_idle(text: TextOf) -> list[Step]:
    body = codex_request(text)
    after = changed(body, input=[*body["input"], codex_item(text, 7)])
    words = "11 minutes had passed since the request before; the cache keeps a prompt for 10 min"
    return [begun(body), Step(after, "idle", words, after=11 * MINUTE)]


def codex_kept_for_a_day(text: TextOf) -> list[Step]:
    body = codex_request(text, prompt_cache_retention="24h")
    after = changed(body, input=[*body["input"], codex_item(text, 7)])
    return [begun(body), Step(after, after=120 * MINUTE)]


MANY_TOOLS = [tool(f"mcp__tracker__{name}") for name in ("one", "two", "three", "four", "five")]
NEW_TEXT = text_block("Answer in one word.")
CASES: dict[str, Callable[[TextOf], list[Step]]] = {
    "a growing conversation": growing,
    "the same prompt again": retried,
    "the same prompt after a refusal": retried_after_a_refusal,
    "two agents in one session, in turns": two_agents,
    "two sessions in turns": two_sessions,
    "two callers with the same name of a session": two_callers_of_one_name,
    "texts that become blocks": texts_become_blocks,
    "a mark on the whole request": marked_as_a_whole,
    "pauses of four minutes": pauses_within_five_minutes,
    "a pause of fifty minutes with an hour's lifetime": pause_within_an_hour,
    "an image that stays": images,
    "requests beside the conversation": requests_beside,
    "a mark within a tool's result": mark_within_a_result,
    "several tools called at once": parallel_tools,
    "a tool added": tools_changed("Edit added", lambda all_: [*all_, tool("Edit")]),
    "a tool removed": tools_changed("Bash removed", lambda all_: [all_[0], all_[1], all_[3]]),
    "a tool's description changed": tools_changed(
        "Write changed", lambda all_: [all_[0], tool("Write", "other"), *all_[2:]]
    ),
    "tools in another order": tools_changed("their order", lambda all_: all_[::-1]),
    "a tool added and one removed": tools_changed(
        "Edit added, Read removed", lambda all_: [*all_[1:], tool("Edit")]
    ),
    "a server with five tools added": tools_changed(
        "mcp__tracker__one, mcp__tracker__two, mcp__tracker__three and 2 more added",
        lambda all_: [*all_, *MANY_TOOLS],
    ),
    "a block of the system prompt changed": system_changed(
        "the system prompt changed (block 2 of 2)", lambda all_: [all_[0], NEW_TEXT]
    ),
    "a block of the system prompt added": system_changed(
        "the system prompt changed (block 1 of 3)", lambda all_: [NEW_TEXT, *all_]
    ),
    "the system prompt replaced by a text": system_changed(
        "the system prompt changed", lambda all_: "Be brief."
    ),
    "the system prompt removed": system_changed("was removed", lambda all_: []),
    "the first message rewritten": messages_changed("message 1 was rewritten", rewrite(1)),
    "a message in the middle rewritten": messages_changed("message 7 was rewritten", rewrite(7)),
    "a tool's result edited": messages_changed("message 5 was rewritten", rewrite(5)),
    "a tool's input edited": messages_changed("message 4 was rewritten", rewrite(4)),
    "several old results cleared": messages_changed(
        "message 3 and 2 later ones were rewritten", rewrite(3, 5, 7)
    ),
    "an image replaced": image_replaced,
    "a message inserted": messages_changed("1 message inserted before message 4", insert(4, 1)),
    "three messages inserted": messages_changed(
        "3 messages inserted before message 4", insert(4, 3)
    ),
    "two messages removed": messages_changed("2 messages removed at message 4", remove(4, 2)),
    "a conversation compacted": compacted,
    "a conversation compacted after its first message": compacted_after_the_first_message,
    "another conversation in one session": another_conversation,
    "a conversation that goes back": rewound,
    "a person's last message edited": last_message_edited,
    "one of three thousand messages rewritten": long_conversation,
    "another model": model_changed,
    "another model and back": model_changed_and_back,
    "another account": account_changed,
    "another choice of a tool": setting_changed("tool_choice", {"type": "any"}),
    "other thinking": setting_changed("thinking", {"type": "enabled", "budget_tokens": 1024}),
    "six minutes idle": idle(6, "6 minutes had passed since the request before"),
    "sixty-one minutes idle with an hour's lifetime": idle(
        61.1,
        "61 minutes had passed since the request before; the cache keeps a prompt for 1 hour",
        "1h",
    ),
    "a night idle": idle(10 * 60.0, "10 hours had passed"),
    "messages idle below a kept system prompt": idle_messages_of_a_kept_system,
    "idle, and a message rewritten": idle_and_rewritten,
    "idle, and compacted": idle_and_compacted,
    "marks removed": marks_removed,
    "a prompt without marks": never_marked,
    "a mark moved back": mark_moved_back,
    "too many blocks since the last mark": too_many_blocks,
    "a mark on a short prompt": short_mark,
    "two requests at the same time": sent_beside,
    "a prompt that the provider dropped": evicted,
    "the provider's own word against ours": told_by_the_provider,
    "the provider's own word and ours": told_and_found,
    "the provider's own word at the first request": told_at_the_first_request,
    "records out of order": out_of_order,
    "records that come twice": doubled,
    "analytics restarted": restarted,
    "analytics restarted after a pause": restarted_and_idle,
    "Codex: a growing conversation without ids": codex_growing,
    "Codex: other instructions": codex_changed(
        "system", "the system prompt changed", instructions="Be brief."
    ),
    "Codex: a tool removed": codex_changed(
        "tools", "patch removed", tools=[{"type": "function", "name": "shell"}]
    ),
    "Codex: another key": codex_changed(
        "settings", "prompt_cache_key changed", prompt_cache_key="other"
    ),
    "Codex: an item rewritten": codex_rewritten,
    "Codex: eleven minutes idle": codex_idle,
    "Codex: two hours idle with a day's retention": codex_kept_for_a_day,
}
# What was never sent before could not be read, and a first request misses nothing.
WITHOUT_LOSS = {"first", "shortened", "new_messages", "rewound", "short"}


@pytest.mark.parametrize("name", CASES)
async def test_every_request_of_a_conversation_is_explained(name: str, tmp_path: Path) -> None:
    seed = list(CASES).index(name)
    steps = CASES[name](TextOf(seed))
    provider = CountingProvider(tmp_path)
    arrived: list[AccessRecord] = []
    waiting: list[AccessRecord] = []
    for step in steps:
        record = await provider.answer(step)
        if step.restarted:
            await provider.restart()
        if step.late:
            waiting.append(record)
            continue
        arrived += [record, *waiting]
        provider.prompts.explain([record])
        # A record that comes again is an object of its own, which is thrown away.
        again = [replace(record), *waiting] if step.twice else waiting
        provider.prompts.explain(again)
        waiting.clear()
    found = [
        (record.cache_cause, step.words in record.cache_explanation)
        for step, record in zip(steps, provider.records, strict=True)
    ]
    assert found == [(step.cause, True) for step in steps], [
        (record.cache_cause, record.cache_explanation) for record in provider.records
    ]
    for record in provider.records:
        if not record.cache_cause or record.cache_cause in WITHOUT_LOSS:
            assert (record.cache_missed_tokens, record.cache_miss_usd) == (0, None)


# Causes by which a text that was in the cache had to be read anew.
LOSSES = (
    "a tool added",
    "a block of the system prompt changed",
    "a message in the middle rewritten",
    "another model",
    "another account",
    "six minutes idle",
    "marks removed",
    "too many blocks since the last mark",
    "a prompt that the provider dropped",
    "Codex: eleven minutes idle",
)


@pytest.mark.parametrize("name", LOSSES)
async def test_a_miss_costs_what_a_hit_would_have_saved(name: str, tmp_path: Path) -> None:
    steps = CASES[name](TextOf(list(CASES).index(name)))[:2]
    provider = CountingProvider(tmp_path)
    before, missed = [await provider.answer(step) for step in steps]
    provider.prompts.explain([before, missed])
    kept = before.cache_read_tokens + before.cache_write_tokens
    if before.provider == "codex":
        kept = before.tokens_input - before.tokens_input % 128
    assert missed.cache_missed_tokens == kept - missed.cache_read_tokens > 500
    assert missed.cache_miss_usd is not None
    cost = provider.prices.cost(missed)
    assert cost is not None
    assert 0 < missed.cache_miss_usd < cost


# --- through a gateway --------------------------------------------------------------------------


async def records_of(bus: Any, count: int) -> list[AccessRecord]:
    """The next `count` records with a model, in the order in which they were sent."""
    found: list[AccessRecord] = []
    async for delivery in bus.serve(ACCESS_RECORD, slots=1):
        await delivery.accept()
        found += [record for record in unpack(delivery.payload) if record.model]
        await delivery.finish()
        if len(found) >= count:
            break
    return sorted(found, key=lambda record: record.timestamp)


def chat_request(text: TextOf, turns: int) -> Json:
    roles = ["system", "user", *(("assistant", "user") * turns)]
    messages = [{"role": role, "content": text(400)} for role in roles]
    return {"model": "claude-sonnet-5-5", "messages": messages}


def messages_request(text: TextOf, **parts: Any) -> Json:
    return conversation(text, 1, model="claude-sonnet-5-5") | {"max_tokens": 50, **parts}


def as_messages(text: TextOf) -> tuple[Json, Json]:
    body = messages_request(text)
    return body, changed(body, tools=[*body["tools"], tool("Edit")])


def as_a_large_body(text: TextOf) -> tuple[Json, Json]:
    body = messages_request(text)
    body["messages"][0]["content"][0]["text"] = "sea " * 300_000
    return body, changed(body, tools=[*body["tools"], tool("Edit")])


def as_chat(text: TextOf) -> tuple[Json, Json]:
    body = chat_request(text, 2)
    after = copy.deepcopy(body)
    after["tools"] = [{"type": "function", "function": {"name": "Edit", "parameters": {}}}]
    return body, after


def as_responses(text: TextOf) -> tuple[Json, Json]:
    body = {"model": "gpt-5.5", "instructions": text(900), "input": text(900), "stream": True}
    body["tools"] = [{"type": "function", "name": "shell", "parameters": {}, "strict": False}]
    added = {"type": "function", "name": "Edit", "parameters": {}, "strict": False}
    return body, changed(body, tools=[*body["tools"], added])


ROUTED = {
    "/api/v1/messages": as_messages,
    "/api/v1/messages?large": as_a_large_body,
    "/api/v1/chat/completions": as_chat,
    "/codex/v1/responses": as_responses,
}


@pytest.mark.parametrize("path", ROUTED)
async def test_a_changed_tool_is_explained_on_every_route(
    open_gateway_at: OpenGateway,
    bus_factory: BusFactory,
    simulator: GroundTruth,
    tmp_path: Path,
    path: str,
) -> None:
    watching = await bus_factory("analytics")
    url = await open_gateway_at(codex=codex_settings(simulator.url, tmp_path))
    before, after = ROUTED[path](TextOf(len(path)))
    named = {"x-session-id": "one", "user-agent": "claude-cli/2.1.330"}
    async with httpx.AsyncClient(
        base_url=url, trust_env=False, timeout=20, verify=False, headers=named
    ) as client:
        for body in (before, before, after):
            answer = await client.post(path, json=body)
            assert answer.status_code == 200, answer.text
    first, same, changed_tools = await records_of(watching, 3)
    RecentPrompts(Prices(tmp_path / "none.json")).explain([first, same, changed_tools])
    assert (first.cache_cause, same.cache_cause) == ("first", "")
    assert same.cache_read_tokens > 1000
    assert (changed_tools.cache_cause, "Edit added" in changed_tools.cache_explanation) == (
        "tools",
        True,
    )
    assert changed_tools.cache_missed_tokens > 1000


async def test_a_prompt_is_idle_once_the_simulators_clock_has_passed_its_lifetime(
    open_gateway_at: OpenGateway, bus_factory: BusFactory, simulator: GroundTruth, tmp_path: Path
) -> None:
    watching = await bus_factory("analytics")
    url = await open_gateway_at()
    text = TextOf(1)
    body = messages_request(text)
    longer = next_turn(body, text)
    async with httpx.AsyncClient(
        base_url=url, trust_env=False, timeout=20, verify=False, headers={"x-session-id": "one"}
    ) as client:
        await client.post("/api/v1/messages", json=body)
        await client.post(f"{simulator.url}/simulator/clock", json={"seconds": 301})
        assert (await client.post("/api/v1/messages", json=longer)).status_code == 200
    first, second = await records_of(watching, 2)
    second.timestamp += 301  # the gateway's clock stands where the simulator's has moved
    RecentPrompts(Prices(tmp_path / "none.json")).explain([first, second])
    assert (first.cache_cause, second.cache_cause) == ("first", "idle")
    assert second.cache_missed_tokens == first.cache_write_tokens


async def test_no_prompt_is_read_while_the_insight_is_switched_off(
    open_gateway_at: OpenGateway, bus_factory: BusFactory, simulator: GroundTruth
) -> None:
    watching = await bus_factory("analytics")
    url = await open_gateway_at(observability={"prompt_insight": False})
    body = messages_request(TextOf(2))
    async with httpx.AsyncClient(
        base_url=url, trust_env=False, timeout=20, verify=False, headers={"x-session-id": "one"}
    ) as client:
        await client.post("/api/v1/messages", json=body)
    (record,) = await records_of(watching, 1)
    assert (record.session_id, record.fingerprint) == ("one", "")
    assert record.cache_write_tokens > 1000
