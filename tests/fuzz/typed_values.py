"""Values of the official SDKs' parameter types: valid by type, odd otherwise, and the same for the
same seed.

Every text carries a number of its own (`m17m`), so that a text which does not arrive can be missed.
`Made` remembers which other values a field could have had, so that a field can be changed as well
as left out.
"""

from __future__ import annotations

import base64
import json
import os
import random
import types
import typing
from collections import abc
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Literal, Required, Union, get_args, get_origin

TOOL_NAMES = ("get_weather", "apply", "mcp.server/read", "läser", "x" * 90, "a b", "Edit")
PNG = b"\x89PNG\r\n\x1a\n"
ODD_TEXTS = (
    "",
    " ",
    "\n",
    "\U0001f600 e\u0301",
    "a\u2028b\u0000",
    '{"x": 1}',
    "<tag>&amp;</tag>",
    "x" * 3000,
)
ALWAYS = ("model", "file_data")
SCHEMAS = ("input_schema", "parameters", "schema")
FEW = ("cache_control", "prompt_cache_breakpoint", "citations", "annotations")
OFTEN = frozenset(
    """
    ToolParam FunctionToolParam ChatCompletionFunctionToolParam ResponseFunctionToolCallParam
    ToolUseBlockParam EasyInputMessageParam ToolResultBlockParam FunctionCallOutput TextBlockParam
    ResponseInputTextParam Message UserMessageParam ChatCompletionUserMessageParam
    ChatCompletionAssistantMessageParam AssistantMessageParam
    """.split()  # noqa: SIM905
)
"""Types that programs use most, chosen more often than the many special ones."""

FILES = (typing.IO, os.PathLike)


class Made(dict[str, Any]):
    """A generated object. `choices` holds the values that a field with a closed set of them may
    have.
    """

    __slots__ = ("choices",)

    def __init__(self) -> None:
        super().__init__()
        self.choices: dict[str, tuple[Any, ...]] = {}


@cache
def fields_of(shape: type) -> tuple[tuple[str, Any, bool], ...]:
    """Return name, type and whether it is required for every field of a TypedDict."""
    found = []
    for name, hint in typing.get_type_hints(shape, include_extras=True).items():
        origin = get_origin(hint)
        is_required = origin is Required or (shape.__total__ and origin is not typing.NotRequired)  # type: ignore[attr-defined]
        bare = get_args(hint)[0] if origin in (Required, typing.NotRequired) else hint
        found.append((name, bare, is_required))
    return tuple(found)


def is_object_type(hint: Any) -> bool:
    return isinstance(hint, type) and hasattr(hint, "__total__")


def is_list_type(hint: Any) -> bool:
    origin = get_origin(hint)
    return origin in (list, abc.Iterable, abc.Sequence) or "Sequence" in str(origin)


def is_never_sent(hint: Any) -> bool:
    """Return True for what the SDKs take in Python, but no body holds: the classes of replies in
    their objects' place, lists of nothing else, and open files.
    """
    inner = get_args(hint)
    if get_origin(hint) is typing.Annotated:
        inner = inner[:1]
    if get_origin(hint) in FILES or hasattr(hint, "model_fields"):
        return True
    return bool(inner) and all(map(is_never_sent, inner))


class Values:
    """Makes values; `chance` decides everything. `models` are the names a request may ask for,
    `fixed` the values of fields that have one wherever their type allows it.
    """

    def __init__(
        self,
        chance: random.Random,
        models: tuple[str, ...],
        fixed: Mapping[str, Any] = types.MappingProxyType({}),
    ) -> None:
        self.chance = chance
        self.models = models
        self.fixed = fixed
        self._number = 0
        self._optional = 0.3
        self._named: dict[str, Callable[[], Any]] = {
            "model": lambda: self.chance.choice(self.models),
            "name": lambda: self.chance.choice(TOOL_NAMES),
            "arguments": lambda: json.dumps(
                {"q": self.text(), "n": self.chance.choice([1, 2**70, 1.5])}
            ),
            "url": self.address,
            "file_url": self.address,
            "image_url": self.image_address,
            "file_data": self.file_address,
            "pattern": lambda: self.chance.choice(["^a+$", r"\p{L}+", self.text()]),
        }

    def body(self, shape: type) -> Made:
        """Return a request body; some bodies have few of the optional fields, some many."""
        self._optional = self.chance.choice([0.05, 0.15, 0.3, 0.5])
        return self.object(shape, 0)

    def mark(self) -> str:
        self._number += 1
        return f"m{self._number}m"

    def text(self) -> str:
        if self.chance.random() < 0.04:
            return self.chance.choice(ODD_TEXTS)
        return self.chance.choice(["", "Say ", "ünï ", "a\nb "]) + self.mark()

    def address(self) -> str:
        return f"https://example.com/{self.mark()}"

    def image_address(self) -> str:
        picture = base64.b64encode(PNG + self.mark().encode()).decode()
        return self.chance.choice([self.address(), f"data:image/png;base64,{picture}"])

    def file_address(self) -> str:
        kind, head = self.chance.choice([("application/pdf", "%PDF-1.7 "), ("text/plain", "")])
        return f"data:{kind};base64,{base64.b64encode((head + self.mark()).encode()).decode()}"

    def object(self, shape: type, depth: int) -> Made:
        made = Made()
        for name, hint, is_required in fields_of(shape):
            wanted = (
                1
                if name in ("model", "file_data")
                else self._optional / (3 if name in FEW else 1) / (1 + depth / 4)
            )
            if is_required or name in ALWAYS or self.chance.random() < wanted:
                made[name] = self.field(shape, name, hint, depth)
                made.choices[name] = alternatives(hint)
        return made

    def field(self, shape: type, name: str, hint: Any, depth: int) -> Any:
        if name in self.fixed and may_be(hint, type(self.fixed[name])):
            return self.fixed[name]
        if name in SCHEMAS and may_be(hint, dict):
            return self.schema()
        if name in self._named and may_be(hint, str):
            return self._named[name]()
        if name == "data" and "Base64" in shape.__name__:
            head = b"%PDF-1.7 " if "PDF" in shape.__name__ else PNG
            return base64.b64encode(head + self.mark().encode()).decode()
        if name == "media_type" and "Image" in shape.__name__:
            return "image/png"
        return self.value(hint, depth + 1)

    def value(self, hint: Any, depth: int) -> Any:
        origin = get_origin(hint)
        if is_object_type(hint):
            return self.object(hint, depth)
        if origin is Literal:
            return self.chance.choice(get_args(hint))
        if origin in (Union, types.UnionType):
            return self.value(self.choose(get_args(hint), depth), depth)
        if origin is typing.Annotated:
            return self.value(get_args(hint)[0], depth)
        if is_list_type(hint):
            most = 5 if depth <= 1 else 2
            return [
                self.value(get_args(hint)[0], depth + 1)
                for _ in range(self.chance.randint(0, most))
            ]
        if origin in (dict, abc.Mapping):
            return {
                self.mark(): self.value(get_args(hint)[1], depth + 2)
                for _ in range(self.chance.randint(0, 2))
            }
        return self.scalar(hint, depth)

    def scalar(self, hint: Any, depth: int) -> Any:
        if hint is str:
            return self.text()
        if hint is bool:
            return self.chance.random() < 0.5
        if hint is int:
            self._number += 1
            return self.chance.choice([1024, 2048, 40_000, 1, 0]) + self._number % 97
        if hint is float:
            return self.chance.choice([0, 0.25, 0.5, 1, 1.5, 0.125])
        if hint is type(None) or hint is None:
            return None
        return self.anything(depth)

    def anything(self, depth: int) -> Any:
        """Return JSON of any kind."""
        match self.chance.randrange(7 if depth < 8 else 4):
            case 0:
                return self.chance.choice([2**70, -1, 0.5, None, True])
            case 1 | 2 | 3:
                return self.text()
            case 4:
                return [self.anything(depth + 2)]
            case _:
                return {self.mark(): self.anything(depth + 2)}

    def choose(self, hints: tuple[Any, ...], depth: int) -> Any:
        """Choose one member of a union; null rarely, ordinary objects more often than the many
        special ones.
        """
        hints = tuple(hint for hint in hints if not is_never_sent(hint))
        weights = [
            0.15
            if hint is type(None)
            else 12
            if getattr(hint, "__name__", "") in OFTEN
            else 3
            if hint is str
            else 1
            for hint in hints
        ]
        if depth > 9 and str in hints:
            return str
        return self.chance.choices(hints, weights)[0]

    def schema(self, depth: int = 0) -> dict[str, Any]:
        """Return a JSON schema as programs send them, with what vendors stumble over."""
        chance = self.chance
        names = [
            chance.choice(["city", "$ref", "a.b", "größe", "y" * 70, "with space", "x-y"])
            for _ in range(3)
        ]
        made: dict[str, Any] = {
            "type": "object",
            "properties": {name: self.property(depth) for name in names[:2]},
        }
        if chance.random() < 0.4:
            made["required"] = list(made["properties"])
        if chance.random() < 0.5:
            made["additionalProperties"] = False
        match chance.randrange(12):
            case 0 if "required" not in made:
                made["anyOf"] = [{"required": [name]} for name in made["properties"]]
            case 1:
                del made["properties"]
            case 2:
                made["$defs"] = {
                    "node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}
                }
            case 3:
                made["description"] = self.text()
        return made

    def property(self, depth: int) -> dict[str, Any]:
        kinds = ["string", "integer", "array", "number", "boolean"] + (
            ["object"] * 2 if depth < 2 else []
        )
        kind = self.chance.choice(kinds)
        made: dict[str, Any] = {"type": kind}
        if kind == "object":
            return self.schema(depth + 1)
        if kind == "array" and self.chance.random() < 0.7:
            made["items"] = {"type": "string", "description": self.text()}
        if kind == "string":
            made |= self.chance.choice(
                [{}, {"pattern": r"\p{L}"}, {"pattern": "^a$"}, {"enum": [self.text()]}]
            )
        if kind in ("integer", "number"):
            made |= self.chance.choice([{}, {"minimum": 0}, {"maximum": 2**70}])
        if self.chance.random() < 0.5:
            made["description"] = self.text()
        return made


def may_be(hint: Any, *kinds: type) -> bool:
    """Return True if a value of the type may be one of these kinds, closed sets of texts left
    aside.
    """
    if get_origin(hint) in (Union, types.UnionType):
        return any(may_be(inner, *kinds) for inner in get_args(hint))
    return hint in kinds or get_origin(hint) in kinds or (is_object_type(hint) and dict in kinds)


@cache
def alternatives(hint: Any) -> tuple[Any, ...]:
    """Return the values of a closed set of texts; none for other types."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(value for inner in get_args(hint) for value in alternatives(inner))
    return ()
