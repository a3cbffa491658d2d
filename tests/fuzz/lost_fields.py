"""Fields that are lost in silence: changed or left out, they change neither what a provider gets
nor what is named.

A field counts as carried if any change of it changes the provider's request, or turns the request
into a refusal. Else a name in `x-ccproxy-ignored` must cover it: the names of the ignored path
stand, in order, among the steps of the field's own path, or among the types of the objects around
it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from shared.runtime.exact_json import dump_json
from tests.fuzz.routes import REFUSALS, Carried, Json, Route
from tests.fuzz.settled import TABLES, is_hosted
from tests.fuzz.typed_values import Made

STEPS = re.compile(r"[^.\[\]]+")
MARK = re.compile(r"m\d+m")


class Place(NamedTuple):
    """A value inside a body: the object that holds it, its name there, the names down to it and the
    types passed.
    """

    holder: Json
    name: str
    steps: tuple[str, ...]


def places(value: Any, steps: tuple[str, ...] = ()) -> Iterator[Place]:
    """Every value that an object of the body holds, but what only tells kinds apart."""
    if isinstance(value, list):
        for item in value:
            yield from places(item, steps)
    elif isinstance(value, dict):
        kind = value.get("type")
        inside = (*steps, f"={kind}") if isinstance(kind, str) else steps
        for name, inner in value.items():
            if name in ("type", "role"):
                continue
            yield Place(value, name, (*inside, name))
            yield from places(inner, (*inside, name))


def changes(place: Place) -> Iterator[Any]:
    """Yield other values for the field, the absence of one (`...`) last."""
    value = place.holder[place.name]
    known = place.holder.choices.get(place.name, ()) if isinstance(place.holder, Made) else ()
    match value:
        case bool():
            yield not value
        case str() if known:
            yield from (other for other in known if other != value)
        case str():
            yield MARK.sub("m0m", value) if MARK.search(value) else f"{value}m0m"
        case int():
            yield value + 1
            yield value * 100 + 1
        case float():
            yield value / 2 + 0.001
    yield ...


def outcome(route: Route, body: Json) -> tuple[Any, ...] | None:
    """Return everything that became of the body; None for a refusal."""
    try:
        carried = route.carry(body)
    except REFUSALS:
        return None
    return dump_json(carried.document), carried.ignored, carried.reply


def is_lost(route: Route, body: Json, place: Place, carried: Carried) -> bool:
    """Return True if nobody hears of the field. `body` is changed for the trial, and back."""
    value = place.holder[place.name]
    if value in (None, "", [], {}) or holds_fields(value) or is_covered(place, carried.ignored):
        return False
    before = dump_json(carried.document), carried.ignored, carried.reply
    order = list(place.holder.items())
    try:
        for other in changes(place):
            if other is ...:
                del place.holder[place.name]
            else:
                place.holder[place.name] = other
            if outcome(route, body) != before:
                return False
    finally:
        place.holder.clear()
        place.holder.update(order)
    return True


def holds_fields(value: Any) -> bool:
    """Return True if the value's own fields are looked at one by one."""
    if isinstance(value, list):
        return any(map(holds_fields, value))
    return isinstance(value, dict) and not value.keys() <= {"type"}


def is_covered(place: Place, ignored: frozenset[str]) -> bool:
    steps = [step.removeprefix("=") for step in place.steps]
    return any(stands_in(STEPS.findall(name), steps) for name in ignored)


def stands_in(names: list[str], steps: list[str]) -> bool:
    """Return True if `names` stand among `steps` in this order."""
    left = iter(steps)
    return all(any(step == name or step.startswith(f"{name}_") for step in left) for name in names)


def is_harmless(client: str, body: Json, place: Place) -> bool:
    """Return True if the format's own table says that the value of the whole field needs nobody's
    attention.
    """
    fate = TABLES[client].get(place.steps[0])
    return fate is not None and (fate.kind == "ignored" or body[place.steps[0]] in fate.defaults)


def says_nothing(body: Json, place: Place, carried: Carried) -> bool:
    """Return True if the value is a default, or other fields make it meaningless."""
    value, name = place.holder[place.name], place.name
    if any(step in CACHE_HINTS for step in place.steps):
        return True
    if name == "name" and is_hosted(place.holder):
        return True
    if place.holder.get("type") == "namespace" and not place.holder["tools"]:
        return True
    if (
        name in ("summary", "generate_summary")
        and carried.document.get("thinking", {}).get("type") != "adaptive"
    ):
        return True  # thinking is shown anyway, or there is none
    if name == "include" and set(value or []) <= {
        "reasoning.encrypted_content",
        "web_search_call.action.sources",
    }:
        return True
    if any(known == name and value == default for known, default in DEFAULTS):
        return True
    if any(name == known for known in LABELS):
        return True
    steps = [step for step in place.steps if not step.startswith("=")]
    choice = body.get("tool_choice")
    if steps[0] == "tools":  # tools that may not be called are not offered
        if "tool_choice" in carried.ignored:
            return True
        return choice == "none" or (
            isinstance(choice, dict) and choice.get("type") in ("none", "allowed_tools")
        )
    if steps[0] in ("parallel_tool_calls", "tool_choice"):
        return (
            not (body.get("tools") and carried.document.get("tools"))
            or choice in ("none", {"type": "none"})
            or name == "mode"
        )
    if name == "modalities":
        return set(value or []) <= {"text"}
    if name == "phase":
        return not MARK.search(str(place.holder.get("content")))  # nothing is said in that phase
    if name in ("name", "namespace"):  # an output's, which its call has as well
        return str(place.holder.get("type")).endswith("_output") or "format" in steps
    return name == "strict" and ("format" in steps or "json_schema" in steps)


CACHE_HINTS = ("cache_control", "prompt_cache_breakpoint", "prompt_cache_key")
"""Mapped by what every provider does on its own: Anthropic caches by content, OpenAI without
marks."""
LABELS = ("status", "id", "include_obfuscation", "eager_input_streaming")
"""An item's own bookkeeping, and what concerns only how a reply is sent."""
DEFAULTS: tuple[tuple[str, Any], ...] = (
    ("response_format", {"type": "text"}),
    ("format", {"type": "text"}),
    ("text", {"format": {"type": "text"}}),
    ("tool_choice", "auto"),
    ("tool_choice", {"type": "auto"}),
    ("parallel_tool_calls", True),
    ("disable_parallel_tool_use", False),
    ("detail", "auto"),
    ("service_tier", "auto"),
    ("service_tier", "standard_only"),
    ("thinking", {"type": "adaptive"}),
    ("caller", {"type": "direct"}),
    ("user_location", {"type": "approximate"}),
    ("input_schema", {"type": "object"}),
    ("parameters", {"type": "object"}),
)
