"""Anthropic's token counts: the one decoder for streams, whole messages and what only passes by.

Counts in a stream are cumulative and correct earlier ones; a null, or anything but a count,
corrects nothing.
"""

from __future__ import annotations

from typing import Any

from shared.formats.fields import count_in, inner_object, text_in
from shared.formats.ir import Json, Usage


def merge_usage(known: Json, told: Any) -> Json:
    """Return `known`, updated with every count in `told`."""
    if not isinstance(told, dict):
        return known
    return known | {name: value for name, value in told.items() if value is not None}


def read_usage(usage: Json) -> Usage:
    return Usage(
        input=count_in(usage, "input_tokens"),
        cache_read=count_in(usage, "cache_read_input_tokens"),
        cache_write=count_in(usage, "cache_creation_input_tokens"),
        output=count_in(usage, "output_tokens"),
        reasoning=count_in(inner_object(usage, "output_tokens_details"), "thinking_tokens"),
        cache_write_1h=count_in(inner_object(usage, "cache_creation"), "ephemeral_1h_input_tokens"),
    )


def read_tier(usage: Json) -> str:
    """Return the service tier of a reply: `fast` for the fast mode, whatever else is named."""
    is_fast = text_in(usage, "speed") == "fast"
    return "fast" if is_fast else text_in(usage, "service_tier")
