"""How a model is to think, to choose its words and to shape its reply, in the form that the service
takes.

A setting that the service or the model does not take becomes the nearest one it does, and is named.
"""

from __future__ import annotations

import re
from dataclasses import replace
from hashlib import sha256

from shared.formats import ir
from shared.formats.efforts import EFFORTS, effort_of_budget, nearest_effort
from shared.formats.fields import drop_empty
from shared.formats.ir import Json
from shared.formats.responses.names import short_name
from shared.formats.responses.target import ResponsesTarget
from shared.formats.schemas import for_openai
from shared.formats.strict_schemas import qualifies_for_openai

LEAST_OUTPUT = 16
"""The fewest `max_output_tokens` that the public interface takes."""


def write_settings(target: ResponsesTarget) -> Json:
    """Return the settings that the public service takes and the ChatGPT backend refuses; there a
    user is only a cache key.
    """
    prompt = target.prompt
    public = not target.dialect.codex
    sampling = public and target.model.sampling
    user = _digest(prompt.user) if prompt.user else None
    max_tokens = prompt.max_tokens
    if public and max_tokens is not None and max_tokens < LEAST_OUTPUT:
        target.drop("max_tokens")
        max_tokens = LEAST_OUTPUT
    table = (
        # Each row: our name, the service's, the value, and whether this service takes it. What is
        # not taken is reported, never lost in silence.
        ("max_tokens", "max_output_tokens", max_tokens, public),
        (
            "temperature",
            "temperature",
            None if prompt.temperature == 1 else prompt.temperature,
            sampling,
        ),
        ("top_p", "top_p", None if prompt.top_p == 1 else prompt.top_p, sampling),
        ("top_k", "", prompt.top_k, False),
        ("stop", "", prompt.stop or None, False),
        ("metadata", "metadata", prompt.metadata or None, public),
        ("user", "safety_identifier", user, public),
    )
    for name, _, value, taken in table:
        if value is not None and not taken:
            target.drop(name)
    return {spelled: value for _, spelled, value, taken in table if value is not None and taken}


def write_reasoning(target: ResponsesTarget) -> Json:
    """Return effort and summary; an empty object leaves both to the model."""
    asked = target.prompt.reasoning
    effort = asked.effort
    if asked.mode == "disabled":
        if effort:
            target.drop("reasoning_effort")
        effort = "none"
    elif effort is None and asked.mode == "enabled" and asked.budget:
        effort = effort_of_budget(asked.budget)
    elif asked.budget:
        target.drop("budget")
    if asked.mode == "between_tools":
        target.drop("thinking")
    written: Json = {"effort": _effort(target, effort)} if effort else {}
    reasons = target.dialect.codex or target.model.efforts or effort
    if reasons and asked.summary not in {"none", "omitted"}:
        written["summary"] = asked.summary if asked.summary in {"concise", "detailed"} else "auto"
    return written


def _effort(target: ResponsesTarget, wanted: str) -> str:
    has = target.model.efforts & set(EFFORTS) or set(EFFORTS)
    if target.dialect.codex:
        has -= {"minimal"}  # listed for some models, refused for all
    found = "low" if wanted == "minimal" and "low" in has else nearest_effort(wanted, has) or wanted
    if wanted not in {found, "minimal"}:
        target.drop("reasoning_effort")
    return found


def write_text(target: ResponsesTarget) -> Json:
    """Return the format and the verbosity of the reply."""
    wanted = target.prompt.response_format
    if wanted is not None and wanted.schema is not None:
        repaired = for_openai(wanted.schema, is_tool=False)
        target.drop_inside("response_format.schema", repaired.lost)
        is_strict = bool(wanted.strict) and qualifies_for_openai(repaired.schema)
        if wanted.strict and not is_strict:
            target.drop("response_format.strict")
        wanted = replace(wanted, schema=repaired.schema, strict=is_strict)
    return drop_empty(
        format=write_format(wanted) if wanted else None, verbosity=target.prompt.verbosity
    )


def write_service_tier(target: ResponsesTarget) -> str | None:
    """Return the tier in the service's words; None for the usual one."""
    tier = target.prompt.service_tier
    if tier in {"priority", "fast"}:
        return "priority"
    if tier in {None, "auto", "default", "standard_only"}:
        return None
    if target.dialect.codex:
        target.drop("service_tier")
        return None
    return tier


def write_format(wanted: ir.ResponseFormat | None) -> Json:
    """Return the format of a reply as requests and responses have it; None is plain text."""
    if wanted is None:
        return {"type": "text"}
    if wanted.schema is None:
        return {"type": "json_object"}
    name = re.sub(r"[^a-zA-Z0-9_-]", "_", short_name(wanted.name or "reply"))
    strict = {"strict": bool(wanted.strict), **drop_empty(description=wanted.description)}
    return {"type": "json_schema", "name": name, "schema": wanted.schema, **strict}


def _digest(text: str) -> str:
    """Return a key that reveals no id: clients put account and session ids in the user field."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
