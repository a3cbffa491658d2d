"""Token estimates and the prompt cache."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.anthropic.usage import AnthropicPromptCache, InputUsage
from simulator.clock import SimulatedClock
from simulator.script import text_tokens

MARK = {"cache_control": {"type": "ephemeral"}}
LONG = "All work and no play. " * 300  # 6,600 bytes, about 1,650 tokens


def prompt(*texts: str, system: str = LONG, marked: bool = True, ttl: str = "") -> dict[str, Any]:
    mark: dict[str, Any] = {"cache_control": {"type": "ephemeral", "ttl": ttl}} if ttl else MARK
    block = {"type": "text", "text": system, **(mark if marked else {})}
    return {"system": [block], "messages": [{"role": "user", "content": text} for text in texts]}


def test_tokens_are_a_quarter_of_the_bytes_rounded_up() -> None:
    assert [text_tokens(size) for size in (0, 1, 4, 5)] == [0, 1, 1, 2]


def test_the_estimate_does_not_depend_on_what_is_cached() -> None:
    cache = AnthropicPromptCache()
    first, second = (cache.measure(prompt("hi"), "owner") for _ in range(2))
    assert (
        first.total
        == second.total
        == AnthropicPromptCache().measure(prompt("hi", marked=False), "owner").total
    )


def test_a_marked_prefix_is_written_once_and_then_read() -> None:
    cache = AnthropicPromptCache()
    first = cache.measure(prompt("one"), "owner")
    second = cache.measure(prompt("two"), "owner")
    assert (first.read, first.written) == (0, second.read)
    assert second.written == 0
    assert second.fresh == first.fresh


def test_nothing_is_cached_without_a_mark_or_for_another_owner() -> None:
    cache = AnthropicPromptCache()
    cache.measure(prompt("one", marked=False), "owner")
    assert cache.measure(prompt("one"), "owner").read == 0
    assert cache.measure(prompt("one"), "another").read == 0


def test_a_short_prefix_is_not_cached() -> None:
    cache = AnthropicPromptCache()
    for _ in range(2):
        assert (
            cache.measure(prompt("hi", system="short"), "owner").as_dict()[
                "cache_creation_input_tokens"
            ]
            == 0
        )


def test_a_growing_conversation_reads_what_the_last_turn_wrote() -> None:
    cache = AnthropicPromptCache()
    body = prompt("one", marked=False) | MARK
    first = cache.measure(body, "owner")
    longer = prompt("one", "two", marked=False) | MARK
    second = cache.measure(longer, "owner")
    assert second.read == first.written
    assert second.written > 0
    assert second.fresh == 0


def test_a_changed_prefix_is_written_anew() -> None:
    cache = AnthropicPromptCache()
    cache.measure(prompt("one"), "owner")
    assert cache.measure(prompt("one", system="x" + LONG), "owner").read == 0


def test_the_longer_life_is_told_apart() -> None:
    usage = AnthropicPromptCache().measure(prompt("one", ttl="1h"), "owner").as_dict()
    assert usage["cache_creation"]["ephemeral_5m_input_tokens"] == 0
    assert (
        usage["cache_creation"]["ephemeral_1h_input_tokens"]
        == usage["cache_creation_input_tokens"]
        > 0
    )


def test_a_mark_inside_a_tool_result_counts() -> None:
    cache = AnthropicPromptCache()
    result = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "text", "text": LONG, **MARK}],
    }
    body = {"messages": [{"role": "user", "content": [result]}]}
    written = cache.measure(body, "owner").written
    assert cache.measure(body, "owner") == InputUsage(0, read=written)


@pytest.mark.parametrize(("ttl", "seconds"), [("", 300), ("5m", 300), ("1h", 3600)])
def test_a_prefix_is_read_until_its_lifetime_after_the_last_use_has_passed(
    ttl: str, seconds: float
) -> None:
    clock = SimulatedClock()
    cache = AnthropicPromptCache(clock)
    written = cache.measure(prompt("one", ttl=ttl), "owner").written
    for _ in range(2):
        clock.forward(seconds - 10)
        assert cache.measure(prompt("one", ttl=ttl), "owner").read == written
    clock.forward(seconds)
    assert cache.measure(prompt("one", ttl=ttl), "owner").read == 0


@pytest.mark.parametrize(("added", "is_read"), [(19, True), (20, False)])
def test_a_prefix_is_found_from_a_mark_at_most_nineteen_pieces_later(
    added: int, is_read: bool
) -> None:
    cache = AnthropicPromptCache()
    body = prompt(LONG, marked=False) | MARK
    first = cache.measure(body, "owner")
    longer = prompt(LONG, *("more" for _ in range(added)), marked=False) | MARK
    assert cache.measure(longer, "owner").read == (first.written if is_read else 0)


def test_the_tokens_before_each_mark_are_counted_by_its_lifetime() -> None:
    body = prompt("one", ttl="1h")
    body["messages"] = [{"role": "user", "content": [{"type": "text", "text": LONG, **MARK}]}]
    usage = AnthropicPromptCache().measure(body, "owner")
    assert 0 < usage.written_1h < usage.written
    assert usage.written == usage.total


def test_another_choice_of_a_tool_keeps_only_the_system_prompt() -> None:
    cache = AnthropicPromptCache()
    body = prompt(LONG) | MARK
    system = cache.measure(prompt("other"), "owner").written
    cache.measure(body, "owner")
    forced = body | {"tool_choice": {"type": "any"}}
    assert cache.measure(forced, "owner").read == system
