"""The same prompt has the same fingerprint however it is spelled, and a changed part another number."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from gateway.metering.fingerprinting import fingerprint_of, fingerprint_of_values, wanted_keys
from gateway.proxy.slices import values_in
from shared.bus.fingerprints import MOST_TOOLS, Mark
from shared.runtime.exact_json import dump_json

Json = dict[str, Any]
MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
BODY: Json = {
    "model": "claude-opus-4-1",
    "stream": True,
    "tools": [{"name": "Read", "input_schema": {}}, {"type": "web_search_20250305"}],
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [{"type": "text", "text": "yes"}]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}]},
                {"type": "text", "text": "go on"},
            ],
        },
    ],
    "thinking": {"type": "adaptive"},
}  # fmt: skip
ITEMS: Json = {
    "instructions": "Be brief.",
    "tools": [{"type": "function", "function": {"name": "shell"}}],
    "input": [{"type": "message", "role": "user", "id": "m1", "content": "hello"}, "text"],
    "prompt_cache_key": "key",
}


def with_part(path: list[Any], value: Any) -> Json:
    body = copy.deepcopy(BODY)
    part: Any = body
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return body


async def test_a_text_and_a_block_with_the_text_are_the_same() -> None:
    spelled = with_part(["system"], "Be brief.")
    spelled["messages"][0]["content"] = [{"type": "text", "text": "hello"}]
    assert await fingerprint_of("messages", spelled) == await fingerprint_of("messages", BODY)


async def test_marks_are_no_part_of_the_messages_and_have_their_places() -> None:
    marked = copy.deepcopy(BODY)
    marked["tools"][1] |= MARK
    marked["system"][0] |= {"cache_control": {"type": "ephemeral"}}
    marked["messages"][2]["content"][0]["content"][0] |= MARK
    marked["messages"][2]["content"][1] |= MARK
    bare = await fingerprint_of("messages", BODY)
    found = await fingerprint_of("messages", marked)
    assert (found.tools, found.system, found.messages) == (bare.tools, bare.system, bare.messages)
    assert bare.marks == ()
    assert found.marks == (
        Mark(0, 2, 3600),
        Mark(0, 3, 300),
        Mark(3, 6, 3600),
        Mark(3, 7, 3600),
    )
    whole = await fingerprint_of("messages", BODY | MARK)
    assert whole.marks == (Mark(3, 7, 3600),)


@pytest.mark.parametrize(
    ("path", "value", "changed"),
    [
        (["tools", 0, "input_schema"], {"type": "object"}, "tools"),
        (["system", 0, "text"], "Be long.", "system"),
        (["messages", 0, "content"], "Hello", "messages"),
        (["messages", 1, "role"], "user", "messages"),
        (["messages", 2, "content", 0, "content", 0, "text"], "y", "messages"),
        (["messages", 2, "content", 0, "tool_use_id"], "u", "messages"),
        (["thinking", "type"], "disabled", "settings"),
        (["stream"], False, ""),
        (["model"], "other", ""),
    ],
)
async def test_a_changed_part_changes_only_its_own_numbers(
    path: list[Any], value: Any, changed: str
) -> None:
    before = await fingerprint_of("messages", BODY)
    after = await fingerprint_of("messages", with_part(path, value))
    names = ("tools", "system", "messages", "settings")
    assert [name for name in names if getattr(before, name) != getattr(after, name)] == (
        [changed] if changed else []
    )


async def test_an_item_of_a_responses_request_counts_without_its_id() -> None:
    nameless = copy.deepcopy(ITEMS)
    del nameless["input"][0]["id"]
    found = await fingerprint_of("responses", ITEMS)
    assert await fingerprint_of("responses", nameless) == found
    assert [name for name, _ in found.tools] == ["shell"]
    assert found.marks == (Mark(2, 4, 600),)
    longer = await fingerprint_of("responses", ITEMS | {"prompt_cache_retention": "24h"})
    assert longer.marks == (Mark(2, 4, 86_400),)
    other = await fingerprint_of("responses", ITEMS | {"prompt_cache_key": "other"})
    assert other.settings != found.settings


async def test_tools_beyond_the_bound_are_one() -> None:
    many = [{"name": f"tool{number}"} for number in range(MOST_TOOLS + 5)]
    found = await fingerprint_of("messages", BODY | {"tools": many})
    assert [name for name, _ in found.tools[-2:]] == [f"tool{MOST_TOOLS - 1}", "more tools"]
    fewer = await fingerprint_of("messages", BODY | {"tools": many[:-1]})
    assert fewer.tools[:-1] == found.tools[:-1]
    assert fewer.tools[-1] != found.tools[-1]


@pytest.mark.parametrize(("kind", "body"), [("messages", BODY), ("responses", ITEMS)])
async def test_a_body_read_value_by_value_has_the_same_fingerprint(kind: str, body: Json) -> None:
    if kind == "responses":
        body = body | {"input": body["input"][:1]}
    marked = body | MARK
    # The keys in any order: Claude Code writes its messages before its tools.
    turned = dump_json(dict(reversed(marked.items())))
    found = await fingerprint_of_values(kind, values_in(turned, wanted_keys(kind)))
    assert found == await fingerprint_of(kind, marked)


async def test_what_is_no_prompt_is_read_without_an_error() -> None:
    odd = {"tools": "x", "system": 5, "messages": [None, 7, {"content": None}, {"role": "user"}]}
    assert (await fingerprint_of("messages", odd)).message_count == 4
    half = {"messages": [{"role": "user", "content": chr(0xD800)}]}
    assert (await fingerprint_of("messages", half)).message_count == 1
