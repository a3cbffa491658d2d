"""What a Responses reply is made of: the parts of its items, its usage, and the response at its
beginning.

Every function here returns a new object; the order and the numbers of events are the writer's.
"""

from __future__ import annotations

from shared.formats import ir
from shared.formats.envelope import wrap
from shared.formats.ir import Json
from shared.formats.responses.settings import with_settings
from shared.formats.responses.settings_out import write_format


def text_part(text: str, annotations: list[Json]) -> Json:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def refusal_part(text: str) -> Json:
    return {"type": "refusal", "refusal": text}


def summary_part(text: str) -> Json:
    return {"type": "summary_text", "text": text}


def write_annotation(citation: ir.Citation, text: str) -> Json | None:
    """Return a web citation as an annotation; None for citations of files, which OpenAI stores."""
    if citation.vendor == "openai" and citation.data:
        return citation.data
    if not citation.url:
        return None
    start = citation.start or 0
    end = len(text) if citation.end is None else citation.end
    place = {"start_index": start, "end_index": end}
    return {"type": "url_citation", "url": citation.url, "title": citation.title, **place}


def sealed_reasoning(block: ir.Thinking, text: str, seal: ir.Seal | None, item_id: str) -> str:
    """Return the seal by which the vendor accepts the reasoning again. OpenAI's own goes bare into
    an item with the id it was made for; every other is wrapped with its id and with the text, of
    which signatures cover every character.
    """
    if block.redacted:
        return wrap(block)
    if seal is None:
        return ""
    if seal.vendor == "openai" and seal.id == item_id:
        return seal.signature
    return wrap(ir.Thinking(text, seal.signature, seal.vendor, seal.id))


def response_usage(usage: ir.Usage) -> Json:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def begin_response(prompt: ir.Prompt, response_id: str, created: int, model: str) -> Json:
    """Return a response at its beginning. Small settings are echoed, unlike long settings such as
    instructions and tools.
    """
    choice = prompt.tool_choice
    named = choice is not None and choice.mode == "named"
    told: Json = {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "max_output_tokens": prompt.max_tokens,
        "metadata": prompt.metadata or {},
        "model": model,
        "parallel_tool_calls": prompt.parallel_tools is not False,
        "prompt_cache_key": prompt.cache_key,
        "safety_identifier": prompt.user,
        "reasoning": {"effort": prompt.reasoning.effort, "summary": prompt.reasoning.summary},
        "service_tier": "default",
        "store": False,
        "temperature": prompt.temperature,
        "text": {
            "format": write_format(prompt.response_format),
            "verbosity": prompt.verbosity or "medium",
        },
        "tool_choice": {"type": "function", "name": choice.name}
        if choice and named
        else choice.mode
        if choice
        else "auto",
        "top_p": prompt.top_p,
    }
    return with_settings(told)
