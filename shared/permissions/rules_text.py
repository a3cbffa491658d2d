"""The text of a rules file: the rules that always hold, the profiles, and the profiles in force.

A profile is a named set of rules. `[active]` names the profiles that are in force, and those that
are while the owner is away.

Invariant: a text with one mistake is refused whole, because a file with one bad rule has none to be
trusted.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shared.permissions.rules import PROFILE_NAME, Rule, read_rule
from shared.runtime.errors import ClientError

RULES = "rules"
REMOVED = "removed"  # names the built-in rules that the owner does not want
PROFILES = "profiles"
ACTIVE = "active"
# Words of `ccproxy permissions profile` that are no profiles.
RESERVED_PROFILES = frozenset({"away", "copy", "list", "off", "show"})
MAX_ABOUT = 200  # characters


@dataclass(frozen=True, slots=True)
class RuleProfile:
    """A named set of rules. `about` is a sentence for people; `accept_edits` allows reading and
    editing inside the working folder, as the permission mode of that name does.
    """

    name: str
    rules: tuple[Rule, ...] = ()
    about: str = ""
    accept_edits: bool = False


@dataclass(frozen=True, slots=True)
class SwitchedProfiles:
    """The profiles switched on by the owner: for good, and while away. `by` and `at` name the last
    switch, and are empty after a change by hand.
    """

    active: tuple[str, ...] = ()
    while_away: tuple[str, ...] = ()
    by: str = ""
    at: str = ""

    def names(self, *, away: bool) -> tuple[str, ...]:
        """Return the profiles in force, every name once."""
        bound = self.while_away if away else ()
        return tuple(dict.fromkeys((*self.active, *bound)))


@dataclass(frozen=True, slots=True)
class RulesText:
    """The content of a rules file."""

    rules: tuple[Rule, ...] = ()
    removed: frozenset[str] = frozenset()
    profiles: dict[str, RuleProfile] = field(default_factory=dict)
    switched: SwitchedProfiles = SwitchedProfiles()


def read_rules_text(text: str) -> RulesText:
    """Return the content of a rules file. Raises ClientError naming the first mistake."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ClientError(f"not valid TOML: {error}") from error
    if unknown := set(document) - {RULES, REMOVED, PROFILES, ACTIVE}:
        raise ClientError(f"unknown entry {min(unknown)!r}; rules are written as [[rules]]")
    tables = document.get(PROFILES, {})
    if not isinstance(tables, dict):
        raise ClientError("profiles are written as [profiles.NAME]")
    return RulesText(
        _read_shapes(document.get(RULES, []), "[[rules]]"),
        _read_removed(document.get(REMOVED, [])),
        {name: _read_profile(name, table) for name, table in tables.items()},
        _read_switched(document.get(ACTIVE, {})),
    )


def check_profile_name(name: Any) -> str:
    """Return `name`, a name that a profile can have. Raises ClientError."""
    if not isinstance(name, str) or not re.fullmatch(PROFILE_NAME, name):
        raise ClientError(
            f"{name!r} cannot be the name of a profile: lower-case letters, digits and hyphens, at "
            "most 32."
        )
    if name in RESERVED_PROFILES:
        raise ClientError(f"{name!r} is a word of `ccproxy permissions profile` and no name.")
    return name


def read_profile_names(given: Any, field_name: str) -> tuple[str, ...]:
    """Return a list of names of profiles, every name once. Raises ClientError."""
    if not isinstance(given, list):
        raise ClientError(f"{field_name}: expected a list of names of profiles.")
    return tuple(dict.fromkeys(check_profile_name(name) for name in given))


def _read_profile(name: str, table: Any) -> RuleProfile:
    check_profile_name(name)
    place = f"{PROFILES}.{name}"
    if not isinstance(table, dict):
        raise ClientError(f"a profile is written as [{place}]")
    if unknown := set(table) - {RULES, "about", "accept_edits"}:
        raise ClientError(f"{place}: unknown entry {min(unknown)!r}")
    about = table.get("about", "")
    if not isinstance(about, str) or len(about) > MAX_ABOUT:
        raise ClientError(f"{place}.about is a text of at most {MAX_ABOUT} characters")
    accept_edits = table.get("accept_edits", False)
    if not isinstance(accept_edits, bool):
        raise ClientError(f"{place}.accept_edits is true or false")
    rules = _read_shapes(table.get(RULES, []), f"[[{place}.rules]]")
    named = tuple(read_rule(rule.model_dump() | {"profile": name}) for rule in rules)
    return RuleProfile(name, named, about, accept_edits)


def _read_shapes(shapes: Any, place: str) -> tuple[Rule, ...]:
    if not isinstance(shapes, list):
        raise ClientError(f"rules are written as {place}")
    for shape in shapes:
        # The place in the file names the profile, so that no rule can be in two.
        if isinstance(shape, dict) and "profile" in shape:
            raise ClientError("rule.profile: write a profile's rules as [[profiles.NAME.rules]]")
    return tuple(read_rule(shape) for shape in shapes)


def _read_removed(ids: Any) -> frozenset[str]:
    if not isinstance(ids, list) or not all(isinstance(known, str) for known in ids):
        raise ClientError(f"{REMOVED} is a list of the ids of built-in rules")
    return frozenset(ids)


def _read_switched(table: Any) -> SwitchedProfiles:
    if not isinstance(table, dict):
        raise ClientError("the profiles in force are written as [active]")
    if unknown := set(table) - {PROFILES, "while_away", "by", "at"}:
        raise ClientError(f"{ACTIVE}: unknown entry {min(unknown)!r}")
    by = table.get("by", "")
    at = table.get("at", "")
    if not isinstance(by, str):
        raise ClientError(f"{ACTIVE}.by is the name of a caller")
    if not isinstance(at, str | datetime):
        raise ClientError(f"{ACTIVE}.at is a time")
    return SwitchedProfiles(
        read_profile_names(table.get(PROFILES, []), f"{ACTIVE}.{PROFILES}"),
        read_profile_names(table.get("while_away", []), f"{ACTIVE}.while_away"),
        by,
        at if isinstance(at, str) else at.isoformat(),
    )


def rules_of(profiles: Iterable[RuleProfile]) -> list[Rule]:
    """Return the rules of `profiles`, in order."""
    return [rule for profile in profiles for rule in profile.rules]
