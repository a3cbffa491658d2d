"""Complaints about a configuration, in a user's words: each setting by name, with its source and
the valid alternative.

`tree` is the model of all settings.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.runtime.errors import CCProxyError
from shared.settings.retired import retired_advice
from shared.settings.sources import KeyPath, Origins

Tree = type[BaseModel]


class ConfigurationError(CCProxyError):
    """The configuration cannot be used."""

    exit_code: ClassVar[int] = 78  # sysexits.h, EX_CONFIG


def complain(problems: Iterable[str]) -> str:
    """Return the complaint about `problems`: a single problem in a sentence, several with a line
    for every problem.
    """
    found = [each if each.endswith("?") else f"{each}." for each in problems]
    if len(found) == 1:
        return f"The configuration cannot be used: {found[0]}"
    return "\n  ".join(["The configuration cannot be used:", *found])


def validation_problems(error: ValueError, origins: Origins, tree: Tree) -> list[str]:
    """Return pydantic's list of problems in our words, with sources."""
    problems: list[dict[str, Any]] = getattr(error, "errors", list)()
    if not problems:
        return not_json(origins, tree) or [str(error)]
    return [_describe(problem, origins, tree) for problem in problems]


def _describe(problem: dict[str, Any], origins: Origins, tree: Tree) -> str:
    path = tuple(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return unknown(path, origins, tree)
    return f"{setting_name(path, origins)}: {_in_our_words(problem)}"


# What pydantic calls a problem, and our words for it; the names are of its `ctx`.
WORDS = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be a text",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "missing": "is missing",
    "literal_error": "must be one of {expected}",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "too_short": "must have at least {min_length} characters",  # of a secret; no list has a limit
    "string_too_long": "must have at most {max_length} characters",
    "value_error": "{error}",
}


def _in_our_words(problem: dict[str, Any]) -> str:
    words = WORDS.get(problem["type"])
    return str(problem["msg"]) if words is None else words.format(**problem.get("ctx", {}))


def not_json(origins: Origins, tree: Tree) -> list[str]:
    """Return a complaint for every list or table variable not written in JSON."""
    found = []
    for path, field in leaves(tree):
        text = origins.text(name_of(path))
        kinds = [get_origin(kind) for kind in (field.annotation, *get_args(field.annotation))]
        if text and (list in kinds or dict in kinds):
            try:
                json.loads(text)
            except ValueError:
                name = setting_name(path, origins)
                found.append(f"""{name}: must be JSON, as in ["a", "b"] or {{"a": "b"}}""")
    return found


def setting_name(path: KeyPath, origins: Origins) -> str:
    return f"{name_of(path)} ({origins.of(path)})"


def unknown(path: KeyPath, origins: Origins, tree: Tree) -> str:
    """Return a complaint about an unknown key: the key's replacement, or the most similar known
    key.
    """
    if advice := retired_advice(name_of(path)):
        return f"{setting_name(path, origins)} is no setting any more: {advice}"
    siblings = {
        known[len(path) - 1] for known, _ in leaves(tree) if known[: len(path) - 1] == path[:-1]
    }
    close = difflib.get_close_matches(path[-1].lower(), siblings, 1)
    # A section has its name in a TOML file alone, so it is written as there.
    if len(path) == 1:
        meant = f"; did you mean [{close[0]}]?" if close else ""
        return f"[{path[0]}] ({origins.of(path)}) is not a section of the settings{meant}"
    meant = f"; did you mean {name_of((*path[:-1], close[0]))}?" if close else ""
    return f"{setting_name(path, origins)} is not a setting{meant}"


def misspelt_names(origins: Origins, tree: Tree) -> Iterator[str]:
    """Variables that clearly mean a setting of ours: the section's name is misspelt, the rest is
    right.
    """
    sections = [section.upper() for section in tree.model_fields]
    known = {name_of(path) for path, _ in leaves(tree)}
    for name in sorted(origins.names()):
        section, _, rest = name.partition("__")
        if not rest or section in sections:
            continue
        for close in difflib.get_close_matches(section, sections, 1, 0.75):
            if f"{close}__{rest}" in known:
                yield (
                    f"{setting_name((name.lower(),), origins)} is not a setting; did you mean "
                    f"{close}__{rest}?"
                )


def name_of(path: KeyPath) -> str:
    """`("server", "port")` → `SERVER__PORT`, as in the environment."""
    return "__".join(path).upper()


def leaves(of: Tree, above: KeyPath = ()) -> Iterator[tuple[KeyPath, FieldInfo]]:
    """Yield every setting below a section, with the setting's path."""
    for name, field in of.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, (*above, name))
        else:
            yield (*above, name), field
