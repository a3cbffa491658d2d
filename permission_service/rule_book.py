"""All rules in force: those of the owner's file and its profiles, of the settings, and those
remembered for sessions and callers in Redis.

This service is the only writer in Redis, so each value is read once. The file is checked for
changes at every use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from permission_service.built_in import CONVERSATION, EDITING, READING, BuiltInRule
from permission_service.built_in_profiles import PROFILE_TEXTS, built_in_profiles
from permission_service.rules_file import RulesFile
from shared.bus import Bus
from shared.bus.channels import PermissionRequest, decode_payload, encode_payload
from shared.permissions.rule_index import RuleIndex
from shared.permissions.rules import Rule, rule_problems
from shared.permissions.rules_text import (
    RuleProfile,
    RulesText,
    SwitchedProfiles,
    check_profile_name,
    read_rules_text,
    rules_of,
)
from shared.runtime.errors import Conflict, NotFound

RULE_PREFIX = "permission:rule:"
RULE_SECONDS = {"session": 86400.0, "caller": 30 * 86400.0}
BUILT_IN_RULES = (READING, CONVERSATION)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A rule of a session or a caller, with the author and the end (UTC seconds)."""

    rule: Rule
    by: str
    until: float


@dataclass(frozen=True, slots=True)
class FromSettings:
    """The rules from the owner's settings. `origin` names the setting of `rules`; `problem` names
    the entries without a form as a rule.
    """

    rules: tuple[Rule, ...] = ()
    origin: str = ""
    built_in: tuple[BuiltInRule, ...] = ()
    problem: str = ""


class TriedRules:
    """Rules tried out on past requests, never used for answers."""

    def __init__(self, rules: list[Rule], built_in: list[BuiltInRule]) -> None:
        self._rules = RuleIndex(rules)
        self._built_in = built_in
        # Made once: the id of a rule is a digest, and thousands of past requests ask for texts.
        self._texts = {rule.id: rule.describe() for rule in rules}
        self._texts |= {rule.id: rule.text for rule in built_in}

    def concerning(self, request: PermissionRequest) -> list[Rule]:
        """Return the rules that may concern `request`, in their order."""
        return self._rules.concerning(request)

    def built_in(self) -> list[BuiltInRule]:
        return self._built_in

    def text_of(self, rule_id: str) -> str:
        """Return a rule in words; an empty text for an unknown rule."""
        return self._texts.get(rule_id, "")


class RuleBook:
    """All rules in force. `problem` says why the rules file cannot be used; no rule allows anything
    then. `is_away` returns True while the profiles for that time are in force.
    """

    def __init__(
        self,
        bus: Bus,
        path: Path,
        clock: Callable[[], float],
        from_settings: FromSettings | None = None,
    ) -> None:
        self.is_away: Callable[[], bool] = lambda: False
        self._settings = from_settings or FromSettings()
        self._bus = bus
        self._clock = clock
        self._file = RulesFile(path)
        self._remembered: dict[str, Remembered] = {}
        self._first_end = math.inf  # of a remembered rule
        # The rules in force, and what they were made from; None to make them anew.
        self._in_force: RuleIndex | None = None
        self._made_from: tuple[RulesText, bool, bool] | None = None
        self._starting_points = built_in_profiles()

    @property
    def problem(self) -> str:
        return self._file.problem

    @property
    def notice(self) -> str:
        """Return the problem of the rules file or of a setting; an empty text if there is none."""
        return self.problem or self._settings.problem

    def notes(self) -> list[str]:
        """Return a sentence for every rule in force that never applies, or depends on links of
        another machine, and for every active but missing profile.
        """
        known = self.profiles()
        switched = self.switched()
        missing = [name for name in switched.names(away=True) if name not in known]
        return [
            *rule_problems(self.all()),
            *(f"The active profile {name} is not in the rules file." for name in missing),
        ]

    async def load(self) -> None:
        """Read the rules of sessions and callers from Redis. Raises BusUnavailable."""
        found = await self._bus.scan(RULE_PREFIX)
        for data in found.values():
            kept = decode_payload(Remembered, data)
            self._remember(kept)
        self._in_force = None

    def _remember(self, kept: Remembered) -> None:
        self._remembered[kept.rule.id] = kept
        self._first_end = min(self._first_end, kept.until)

    def profiles(self) -> dict[str, RuleProfile]:
        """Return all profiles by name; a profile of the file replaces a built-in profile of the
        same name.
        """
        return self._starting_points | self._file.read().profiles

    def is_starting_point(self, name: str) -> bool:
        """Return True for a built-in profile that the owner's file does not replace."""
        return name in self._starting_points and name not in self._file.read().profiles

    def switched(self) -> SwitchedProfiles:
        """Return the owner's choice of profiles."""
        return self._file.read().switched

    def profiles_in_force(self) -> list[RuleProfile]:
        """Return the profiles in force now."""
        known = self.profiles()
        names = self.switched().names(away=self.is_away())
        return [known[name] for name in names if name in known]

    def all(self) -> list[Rule]:
        """Return the rules in force, those of the file first. Only deny rules are left while the
        file cannot be used.
        """
        return self._index().rules

    def concerning(self, request: PermissionRequest) -> list[Rule]:
        """Return the rules in force that may concern `request`, in their order."""
        return self._index().concerning(request)

    def _index(self) -> RuleIndex:
        """Return the rules in force, made anew when the file, the owner's presence or the
        remembered rules have changed.
        """
        now = self._clock()
        if now >= self._first_end:
            left = {key: kept for key, kept in self._remembered.items() if kept.until > now}
            self._remembered = left
            self._first_end = min((kept.until for kept in left.values()), default=math.inf)
            self._in_force = None
        content = self._file.read()
        made_from = (content, self.is_away(), bool(self.problem))
        if (
            self._in_force is None
            or self._made_from is None
            or content is not self._made_from[0]
            or made_from[1:] != self._made_from[1:]
        ):
            self._in_force = RuleIndex(self._rules_in_force(content))
            self._made_from = made_from
        return self._in_force

    def _rules_in_force(self, content: RulesText) -> list[Rule]:
        rules = [
            *content.rules,
            *rules_of(self.profiles_in_force()),
            *self._settings.rules,
            *(kept.rule for kept in self._remembered.values()),
        ]
        return [rule for rule in rules if rule.effect == "deny"] if self.problem else rules

    def with_rule(self, rule: Rule) -> TriedRules:
        """Return the rules in force now, and `rule` behind them."""
        return TriedRules([*self.all(), rule], self.built_in())

    def with_file(self, text: str) -> TriedRules:
        """Return the rules for `text` as the rules file, with the active profiles of `text`. Rules
        remembered for sessions and callers are left out. Raises ClientError.
        """
        content = read_rules_text(text)
        known = self._starting_points | content.profiles
        names = content.switched.names(away=self.is_away())
        profiles = [known[name] for name in names if name in known]
        rules = [*content.rules, *rules_of(profiles), *self._settings.rules]
        return TriedRules(rules, self._built_in_without(content.removed, profiles))

    def built_in(self) -> list[BuiltInRule]:
        """Return the built-in rules in force, and the rules of the permission mode and of
        profiles.
        """
        removed = self._file.read().removed
        return [] if self.problem else self._built_in_without(removed, self.profiles_in_force())

    def text_of(self, rule_id: str) -> str:
        """Return a rule in words; an empty text for an unknown rule. A rule of a profile is known
        also while the profile is not in force.
        """
        known = [*self.all(), *rules_of(self.profiles().values())]
        rule = next((rule for rule in known if rule.id == rule_id), None)
        if rule is not None:
            return rule.describe()
        editing = [_editing_in(profile) for profile in self.profiles().values()]
        found = [*self.built_in(), *editing]
        return next((rule.text for rule in found if rule.id == rule_id), "")

    def describe(self) -> list[dict[str, Any]]:
        """Return every rule with the id, the source and the end. Removed built-in rules are
        included, for restoring; `fixed` marks a rule that is changed elsewhere.
        """
        shown = []
        for rule in self.all():
            kept = self._remembered.get(rule.id)
            facts = {"id": rule.id, "text": rule.describe(), **rule.model_dump(exclude_none=True)}
            source = {"by": self._source_of(rule), "until": kept.until if kept else None}
            shown.append(facts | source | self._fixed(rule))
        built_in_force = {rule.id: rule for rule in self.built_in()}
        known = {rule.id: rule for rule in (*BUILT_IN_RULES, *self._settings.built_in)}
        for built_in in (known | built_in_force).values():
            facts = {"id": built_in.id, "text": built_in.text, "effect": "allow", "scope": "always"}
            in_force = built_in.id in built_in_force
            source = {"by": built_in.origin, "until": None, "in_force": in_force}
            shown.append(facts | source | ({} if built_in.removable else {"fixed": True}))
        return shown

    def _fixed(self, rule: Rule) -> dict[str, bool]:
        known = [*self._file.content.rules, *rules_of(self._file.content.profiles.values())]
        return {} if rule.id in self._remembered or rule in known else {"fixed": True}

    def _source_of(self, rule: Rule) -> str:
        if rule.id in self._remembered:
            return self._remembered[rule.id].by
        if rule.profile is not None and self.is_starting_point(rule.profile):
            return f"built in, profile {rule.profile}"
        in_file = rule.profile is not None or rule in self._file.content.rules
        return str(self._file.path) if in_file else self._settings.origin

    async def add(self, rule: Rule, by: str) -> None:
        """Put `rule`, made by `by`, in force; a rule of a profile is added to the profile. Raises
        BusUnavailable; ClientError; Conflict when the file cannot be written.
        """
        if rule.scope == "always":
            if rule.profile is not None and self.is_starting_point(
                check_profile_name(rule.profile)
            ):
                # Else the new rule alone would take the place of all of the built-in ones.
                self.copy_profile(rule.profile)
            self._file.add(rule)
            return
        ttl = RULE_SECONDS[rule.scope]
        kept = Remembered(rule, by, self._clock() + ttl)
        data = encode_payload({"rule": rule.model_dump(), "by": by, "until": kept.until})
        # Stored before it is in force: a rule that Redis refused must not apply until the restart
        # and then be gone.
        await self._bus.put(RULE_PREFIX + rule.id, data, ttl=ttl)
        # A rule that is in force already only lasts longer.
        is_new = rule.id not in self._remembered
        self._remember(kept)
        if self.problem or self._in_force is None:
            self._in_force = None  # made anew, with the effects that hold during the problem
        elif is_new:
            self._in_force.add(rule)

    async def remove(self, rule_id: str) -> str:
        """Remove a rule and return it in words. Raises NotFound, Conflict for a rule of a setting;
        else as `add`.
        """
        text = self.text_of(rule_id)
        if not text:
            raise NotFound(f"There is no rule {rule_id!r}.")
        content = self._file.read()
        built_in = next((rule for rule in self.built_in() if rule.id == rule_id), None)
        in_file = [*content.rules, *rules_of(content.profiles.values())]
        if built_in is not None and built_in.removable:
            self._file.set_removed(content.removed | {rule_id})
        elif rule_id in self._remembered:
            # Deleted from Redis first, for the same reason: a removed rule must not come back with
            # a restart.
            await self._bus.delete(RULE_PREFIX + rule_id)
            del self._remembered[rule_id]
            self._in_force = None
        elif any(rule.id == rule_id for rule in in_file):
            self._file.remove(rule_id)
        else:
            raise Conflict(self._why_fixed(rule_id, built_in))
        return text

    def _why_fixed(self, rule_id: str, built_in: BuiltInRule | None) -> str:
        profile = rule_id.rpartition(":")[0]
        if profile and self.is_starting_point(profile):
            return (
                f"The profile {profile} is built in; `ccproxy permissions profile copy {profile}` "
                "puts it into the rules file, where it can be changed."
            )
        if profile:
            return (
                f"This rule follows from `accept_edits` of the profile {profile}; change it there."
            )
        origin = built_in.origin if built_in is not None else self._settings.origin
        return f"This rule follows from {origin}; change it there."

    async def restore(self, rule_id: str) -> str:
        """Put a removed built-in rule in force again and return it in words. Raises NotFound; else
        as `add`.
        """
        rule = next((known for known in BUILT_IN_RULES if known.id == rule_id), None)
        if rule is None:
            raise NotFound(f"There is no built-in rule {rule_id!r}.")
        self._file.set_removed(self._file.read().removed - {rule_id})
        return rule.text

    def switch(self, switched: SwitchedProfiles) -> None:
        """Put the profiles of `switched` in force. Raises NotFound for an unknown profile,
        Conflict.
        """
        known = self.profiles()
        for name in switched.names(away=True):
            if name not in known:
                raise NotFound(f"There is no profile {name!r}; there are {', '.join(known)}.")
        self._file.switch(switched)

    def copy_profile(self, name: str) -> None:
        """Write a built-in profile into the rules file, where the owner can change it. Raises
        NotFound, Conflict.
        """
        if name not in self._starting_points:
            raise NotFound(f"There is no built-in profile {name!r}.")
        if not self.is_starting_point(name):
            raise Conflict(f"The profile {name} is in {self._file.path} already.")
        self._file.append(PROFILE_TEXTS[name])

    def _built_in_without(
        self, removed: frozenset[str], profiles: list[RuleProfile]
    ) -> list[BuiltInRule]:
        known = (*BUILT_IN_RULES, *self._settings.built_in)
        editing = [_editing_in(profile) for profile in profiles if profile.accept_edits]
        return [*(rule for rule in known if rule.id not in removed), *editing]


def _editing_in(profile: RuleProfile) -> BuiltInRule:
    """Return the rule of `accept_edits` of a profile."""
    return replace(
        EDITING,
        id=f"{profile.name}:{EDITING.id}",
        text=f"{EDITING.text}, in the profile {profile.name}",
        origin=f"the profile {profile.name}",
    )
