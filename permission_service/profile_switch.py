"""The switch between profiles: what is in force, who changed it, and what follows from a change.

A change can come from a person, from the owner's leaving or return, or from the rules file itself.

Invariants: a change is in the rules file before anybody hears of it. Every change is in the
permission log with its maker. Waiting requests are decided by the new rules at once.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from permission_service.notices import Notices
from permission_service.rule_book import RuleBook
from permission_service.rulings import Rulings
from permission_service.store import insist
from shared.bus import Bus
from shared.bus.channels import PERMISSION_AUDIT, SWITCHED, PermissionAudit
from shared.permissions.deciders import BY_RULES_FILE
from shared.permissions.rules_text import RuleProfile, SwitchedProfiles, read_profile_names
from shared.runtime.errors import ClientError
from shared.runtime.exact_json import dump_json
from shared.runtime.log import get_log
from shared.runtime.times import iso_time

SWITCH = "profiles"  # in place of a tool's name, in the permission log
LEFT = "The owner left."
CAME_BACK = "The owner came back."


class ProfileSwitch:
    """The profiles of `rules` in the form for people to see and change."""

    def __init__(
        self,
        rules: RuleBook,
        rulings: Rulings,
        notices: Notices,
        bus: Bus,
        clock: Callable[[], float],
    ) -> None:
        self._rules = rules
        self._rulings = rulings
        self._notices = notices
        self._bus = bus
        self._clock = clock
        self._known = self._state()
        self._unpublished: deque[PermissionAudit] = deque()
        self._publishing = asyncio.Lock()

    def begin(self) -> None:
        """Take the profiles in force now for known: the beginning of the service is no change."""
        self._known = self._state()

    def show(self) -> dict[str, Any]:
        """Return every profile with the rules of the profile, the choice of the owner, and the last
        change of the choice.
        """
        in_force = {profile.name for profile in self._rules.profiles_in_force()}
        shown = [
            self._show_profile(profile) | {"in_force": profile.name in in_force}
            for profile in self._rules.profiles().values()
        ]
        return {"profiles": shown, "problem": self._rules.notice} | self._choice()

    def _show_profile(self, profile: RuleProfile) -> dict[str, Any]:
        built_in = self._rules.is_starting_point(profile.name)
        rules = [{"id": rule.id, "text": rule.describe()} for rule in profile.rules]
        facts = {"name": profile.name, "about": profile.about, "built_in": built_in}
        return facts | {"accept_edits": profile.accept_edits, "rules": rules}

    def _choice(self) -> dict[str, Any]:
        switched = self._rules.switched()
        return {
            "active": list(switched.active),
            "while_away": list(switched.while_away),
            "away": self._rules.is_away(),
            "by": switched.by,
            "changed_at": switched.at,
        }

    async def switch(self, asked: dict[str, Any], by: str) -> dict[str, Any]:
        """Put the profiles of `asked` in force (`active`, `while_away`; a missing list stays), and
        return the profiles as shown. Raises ClientError, NotFound, Conflict, BusUnavailable.
        """
        given = {name: asked.get(name) for name in ("active", "while_away")}
        if all(names is None for names in given.values()):
            raise ClientError("expected `active` or `while_away`, lists of names of profiles.")
        before = self._rules.switched()
        names = {
            name: getattr(before, name) if chosen is None else read_profile_names(chosen, name)
            for name, chosen in given.items()
        }
        self._rules.switch(SwitchedProfiles(**names, by=by, at=iso_time(self._clock())))
        await self.follow(by)
        return self.show()

    async def copy(self, name: Any) -> dict[str, Any]:
        """Write a built-in profile into the rules file. Raises ClientError, NotFound, Conflict."""
        if not isinstance(name, str):
            raise ClientError("name: expected the name of a profile.")
        self._rules.copy_profile(name)
        return self.show()

    async def follow(self, by: str, why: str = "") -> None:
        """Record and announce a change of the profiles in force, if there is one, and decide
        waiting requests by the new rules. Raises BusUnavailable.
        """
        state = self._state()
        if state == self._known:
            return
        # Taken for known before the first await, so that of two looks at once one records it.
        self._known = state
        in_force = [profile.name for profile in self._rules.profiles_in_force()]
        get_log().info("permission_profiles_switched", by=by, in_force=in_force, why=why)
        record = PermissionAudit(
            request_id=f"{SWITCH}_{uuid.uuid4()}",
            asked_at=self._clock(),
            tool_name=SWITCH,
            input=dump_json({"in_force": in_force} | self._choice()).decode(),
            caller=by,
            session_id="",
            working_directory="",
            outcome=SWITCHED,
            decided_by=by,
            message=why,
        )
        self._unpublished.append(record)
        await self._notices.add("profiles", self._choice() | {"in_force": in_force}, by)
        await self._rulings.apply()
        await self._publish_records()

    async def _publish_records(self) -> None:
        # A record that Redis refuses stays here, and is published at the next look. One look at a
        # time, so that no record is published twice.
        async with self._publishing:
            while self._unpublished:
                record = self._unpublished[0]
                await insist(partial(self._bus.publish, PERMISSION_AUDIT, record))
                self._unpublished.popleft()

    async def look_again(self, away_by: str) -> None:
        """Do `follow` for a change without `switch`: the owner left or came back, as `away_by` said
        or set the daily window, or the rules file was changed by hand. Raises BusUnavailable.
        """
        if self._state()[1] != self._known[1]:
            await self.follow(away_by, LEFT if self._rules.is_away() else CAME_BACK)
        else:
            await self.follow(BY_RULES_FILE)
        await self._publish_records()

    def _state(self) -> tuple[SwitchedProfiles, bool]:
        """Return all facts behind the profiles in force, without the maker of the change."""
        switched = self._rules.switched()
        bound = bool(switched.while_away) and self._rules.is_away()
        return SwitchedProfiles(switched.active, switched.while_away), bound
