"""The official SDK's types of managed agents as a strict judge of what this server sends: every
field is known, every required one is there, and each value has the type's own shape.
"""

from __future__ import annotations

import types
from datetime import datetime
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel


def misfit(hint: Any, value: Any, where: str = "") -> str:
    """Return where and why `value`, plain JSON, is not of the type `hint`; "" if it is."""
    origin = get_origin(hint)
    if origin is Annotated:
        return misfit(get_args(hint)[0], value, where)
    if origin in (Union, types.UnionType):
        return misfit_of_union(get_args(hint), value, where)
    if origin is Literal:
        return "" if value in get_args(hint) else f"{where}: {value!r} is none of {get_args(hint)}"
    if origin is list:
        return first_misfit(hint, value, where) if isinstance(value, list) else f"{where}: no list"
    if origin is dict:
        if not isinstance(value, dict):
            return f"{where}: no object"
        found = (misfit(get_args(hint)[1], each, f"{where}.{key}") for key, each in value.items())
        return next(filter(None, found), "")
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return misfit_of_model(hint, value, where)
    return misfit_of_value(hint, value, where)


def first_misfit(hint: Any, value: list[Any], where: str) -> str:
    (member,) = get_args(hint)
    found = (misfit(member, each, f"{where}.{place}") for place, each in enumerate(value))
    return next(filter(None, found), "")


def misfit_of_union(members: tuple[Any, ...], value: Any, where: str) -> str:
    problems = [misfit(member, value, where) for member in members]
    # A model that the value names by its `type` is the one that is meant.
    return "" if "" in problems else max(problems, key=lambda problem: len(problem.split(":")[0]))


def misfit_of_model(model: type[BaseModel], value: Any, where: str) -> str:
    if not isinstance(value, dict):
        return f"{where}: no object of {model.__name__}"
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    kind = fields.get("type")
    if kind and (problem := misfit(kind.annotation, value.get("type"), where)):
        return problem
    if unknown := value.keys() - fields.keys():
        return f"{where}.{min(unknown)}: not a field of {model.__name__}"
    for alias, field in fields.items():
        if alias not in value:
            if field.is_required():
                return f"{where}.{alias}: missing in {model.__name__}"
        elif problem := misfit(field.annotation, value[alias], f"{where}.{alias}"):
            return problem
    return ""


def misfit_of_value(hint: Any, value: Any, where: str) -> str:
    if hint in (Any, object):
        return ""
    if hint is datetime:
        try:
            aware = datetime.fromisoformat(value).tzinfo is not None
        except (TypeError, ValueError):
            aware = False
        return "" if aware else f"{where}: {value!r} is no time"
    if hint is type(None):
        return "" if value is None else f"{where}: {value!r} is not null"
    allowed = (int, float) if hint is float else (hint,)
    fits = isinstance(value, allowed) and (hint is bool or not isinstance(value, bool))
    return "" if fits else f"{where}: {value!r} is no {hint}"


def check(hint: Any, value: Any) -> None:
    """Fail for a value that is not exactly of the SDK's type `hint`."""
    problem = misfit(hint, value)
    assert not problem, problem
