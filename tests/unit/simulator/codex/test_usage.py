from __future__ import annotations

from typing import Any

from tests.unit.simulator.codex.conftest import Door, Json, user

LONG = "x" * 8000


async def usage(backend: Door, **more: Any) -> Json:
    found: Json = (await backend.ask(**more))[-1]["response"]["usage"]
    return found


async def test_a_prefix_seen_under_the_same_key_is_cached(backend: Door) -> None:
    first = await usage(backend, instructions=LONG, prompt_cache_key="one")
    assert first["input_tokens_details"]["cached_tokens"] == 0
    more = [user("hello"), {"role": "assistant", "content": "hi"}, user("and?")]
    again = await usage(backend, instructions=LONG, prompt_cache_key="one", input=more)
    assert 1900 < again["input_tokens_details"]["cached_tokens"] < again["input_tokens"]
    assert again["input_tokens_details"]["cached_tokens"] % 128 == 0


async def test_another_key_or_none_or_another_beginning_is_not(backend: Door) -> None:
    await usage(backend, instructions=LONG, prompt_cache_key="one")
    for more in (
        {"instructions": LONG, "prompt_cache_key": "two"},
        {"instructions": LONG},
        {"instructions": "y" + LONG, "prompt_cache_key": "one"},
        {"instructions": LONG, "prompt_cache_key": "one", "model": "gpt-6-sol"},
    ):
        assert (await usage(backend, **more))["input_tokens_details"]["cached_tokens"] == 0


async def test_short_prompts_are_not_cached(backend: Door) -> None:
    for _ in range(2):
        assert (await usage(backend, prompt_cache_key="one"))["input_tokens_details"][
            "cached_tokens"
        ] == 0


async def test_reasoning_is_part_of_the_output(backend: Door) -> None:
    spent = await usage(backend, model="gpt-sim-reasoning")
    assert 0 < spent["output_tokens_details"]["reasoning_tokens"] < spent["output_tokens"]
    assert spent["total_tokens"] == spent["input_tokens"] + spent["output_tokens"]
