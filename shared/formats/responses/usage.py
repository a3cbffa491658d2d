"""OpenAI's token counts: the one decoder for streams, whole responses and what only passes by."""

from __future__ import annotations

from typing import Any

from shared.formats.fields import count_in, inner_object
from shared.formats.ir import Usage


def read_usage(usage: Any) -> Usage:
    """Return the counts. OpenAI's input count includes cached tokens; the returned input count
    excludes cached tokens.
    """
    if not isinstance(usage, dict):
        return Usage()
    details = inner_object(usage, "input_tokens_details")
    read = count_in(details, "cached_tokens")
    written = count_in(details, "cache_write_tokens")
    return Usage(
        input=max(0, count_in(usage, "input_tokens") - read - written),
        cache_read=read,
        cache_write=written,
        output=count_in(usage, "output_tokens"),
        reasoning=count_in(inner_object(usage, "output_tokens_details"), "reasoning_tokens"),
    )
