"""The official SDKs' request types as a strict judge: exact types, no unknown fields, whole lists.

The types as they are would judge little: an `Iterable` is looked at when it is read, which nobody
does, and a TypedDict lets unknown fields pass. So each type is built again, closed and with lists.
"""

from __future__ import annotations

import types
from functools import cache
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from typing_extensions import NoExtraItems, TypedDict

from tests.fuzz.typed_values import fields_of, is_list_type, is_never_sent, is_object_type


@cache
def judge_of(shape: type) -> TypeAdapter[Any]:
    return TypeAdapter(strict_object(shape))


def refusal_of(shape: type, body: Any) -> str:
    """Return where and why the type refuses a body; "" for a body that it accepts."""
    try:
        judge_of(shape).validate_python(body)
    except ValidationError as refused:
        # A union reports the misfits of all its members: the one that fitted longest is meant.
        meant = max(refused.errors(), key=lambda error: len(error["loc"]))
        return f"{'.'.join(map(str, meant['loc']))}: {meant['msg']}"
    return ""


@cache
def strict_object(shape: type) -> Any:
    """Return the TypedDict with exact types; closed, unless it allows further fields itself."""
    further = getattr(shape, "__extra_items__", NoExtraItems)
    closed: Any = TypedDict(  # type: ignore[misc]
        shape.__name__,
        {
            name: (Required if is_required else NotRequired)[strict(hint)]
            for name, hint, is_required in fields_of(shape)
        },
    )
    is_open = further is not NoExtraItems and further is not None
    closed.__pydantic_config__ = ConfigDict(strict=True, extra="allow" if is_open else "forbid")
    return closed


def strict(hint: Any) -> Any:
    origin = get_origin(hint)
    if is_object_type(hint):
        return strict_object(hint)
    if origin in (Union, types.UnionType):
        # A union of a single member is that member.
        return Union[tuple(strict(one) for one in get_args(hint) if not is_never_sent(one))]  # noqa: UP007
    if origin is Annotated:
        return strict(get_args(hint)[0])
    if is_list_type(hint):
        return list[strict(get_args(hint)[0])]  # type: ignore[misc]
    if origin is dict or (origin is not None and "Mapping" in str(origin)):
        return dict[str, strict(get_args(hint)[1])]  # type: ignore[misc]
    return hint
