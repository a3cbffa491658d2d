"""The storage of the permission service: its requests in Redis, rules of sessions and callers
beside them, and the lasting rules in a TOML file of the user.

This service is the only writer in Redis, so each value is read once. The file is checked for
changes at every use.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from permission_service.built_in import CONVERSATION, READING, BuiltInRule
from permission_service.requests import HISTORY_SECONDS, StoredRequest
from shared.bus import Bus
from shared.bus.channels import decode_payload, encode_payload
from shared.permissions.rules import REMOVED, Rule, read_rules, removed_rules, rule_problems
from shared.runtime.errors import BusUnavailable, ClientError, Conflict, NotFound

REQUEST_PREFIX = "permission:request:"
RULE_PREFIX = "permission:rule:"
# Redis keeps nothing without an end; the ask itself stays in its channel
FOR_EVER_SECONDS = 30 * 86400.0
RULE_SECONDS = {"session": 86400.0, "caller": 30 * 86400.0}
RETRY_SECONDS = 0.2
BUILT_IN_RULES = (READING, CONVERSATION)
PATIENCE_SECONDS = 15.0  # longer than the bus keeps a call through an outage of Redis


async def insist(write: Callable[[], Any]) -> None:
    """Call `write`, a write to the bus, until it succeeds. Raises BusUnavailable when Redis stays
    away for PATIENCE_SECONDS.
    """
    loop = asyncio.get_running_loop()
    late = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            await write()
        except BusUnavailable:
            # Looked at only after a failure, so that a write that succeeds late still counts.
            if loop.time() > late:
                raise
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


class RequestStore:
    """The stored requests. The key of a request ends some time after the service has forgotten the
    request.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def load(self) -> list[StoredRequest]:
        found = await self._bus.scan(REQUEST_PREFIX)
        return [decode_payload(StoredRequest, data) for data in found.values()]

    async def delete(self, stored: StoredRequest) -> None:
        """Delete the stored `stored`. Raises BusUnavailable; the key then ends with the key's
        lifetime.
        """
        await self._bus.delete(REQUEST_PREFIX + stored.id)

    async def save(self, stored: StoredRequest, *, now: float) -> None:
        """Store `stored`. Raises BusUnavailable."""
        # The key outlives the request by the time of the history, so that a restart finds the
        # decision that a lost answer is sent from again.
        left = (
            0.0
            if stored.closed
            else FOR_EVER_SECONDS
            if stored.expires_at is None
            else max(0, stored.expires_at - now)
        )
        await self._bus.put(
            REQUEST_PREFIX + stored.id, encode_payload(stored), ttl=left + HISTORY_SECONDS
        )


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


class RuleBook:
    """All rules in force. `problem` says why the rules file cannot be used; no rule allows anything
    then.
    """

    def __init__(
        self,
        bus: Bus,
        path: Path,
        clock: Callable[[], float],
        from_settings: FromSettings | None = None,
    ) -> None:
        self.problem = ""
        self._settings = from_settings or FromSettings()
        self._removed: frozenset[str] = frozenset()
        self._bus = bus
        self._clock = clock
        self._path = path.expanduser()
        self._remembered: dict[str, Remembered] = {}
        self._lasting: list[Rule] = []
        self._seen: tuple[int, ...] | None = None

    @property
    def notice(self) -> str:
        """Return the problem of the rules file or of a setting; an empty text if there is none."""
        return self.problem or self._settings.problem

    def notes(self) -> list[str]:
        """Return a sentence for every rule in force that never applies, or depends on links of
        another machine.
        """
        return rule_problems(self.all())

    async def load(self) -> None:
        """Read the rules of sessions and callers from Redis. Raises BusUnavailable."""
        found = await self._bus.scan(RULE_PREFIX)
        for data in found.values():
            kept = decode_payload(Remembered, data)
            self._remembered[kept.rule.id] = kept

    def all(self) -> list[Rule]:
        """Return the rules in force, those of the file first. Only deny rules are left while the
        file cannot be used.
        """
        now = self._clock()
        self._remembered = {key: kept for key, kept in self._remembered.items() if kept.until > now}
        self._read_file()
        rules = [
            *self._lasting,
            *self._settings.rules,
            *(kept.rule for kept in self._remembered.values()),
        ]
        return [rule for rule in rules if rule.effect == "deny"] if self.problem else rules

    def find(self, rule_id: str) -> Rule | None:
        return next((rule for rule in self.all() if rule.id == rule_id), None)

    def built_in(self) -> list[BuiltInRule]:
        """Return the built-in rules in force, and the rules of the permission mode."""
        self._read_file()
        if self.problem:
            return []
        known = (*BUILT_IN_RULES, *self._settings.built_in)
        return [rule for rule in known if rule.id not in self._removed]

    def text_of(self, rule_id: str) -> str:
        """Return a rule in words; an empty text for a rule out of force."""
        rule = self.find(rule_id)
        if rule is not None:
            return rule.describe()
        return next((known.text for known in self.built_in() if known.id == rule_id), "")

    def describe(self) -> list[dict[str, Any]]:
        """Return every rule with the id, the source and the end. Removed built-in rules are
        included, for restoring.
        """
        shown = []
        lasting = {rule.id for rule in self._lasting}
        for rule in self.all():
            kept = self._remembered.get(rule.id)
            by = (
                kept.by
                if kept
                else str(self._path)
                if rule.id in lasting
                else self._settings.origin
            )
            origin = {"by": by, "until": kept.until if kept else None}
            shown.append(
                {
                    "id": rule.id,
                    "text": rule.describe(),
                    **rule.model_dump(exclude_none=True),
                    **origin,
                }
            )
        in_force = {rule.id for rule in self.built_in()}
        for built_in in (*BUILT_IN_RULES, *self._settings.built_in):
            facts = {"id": built_in.id, "text": built_in.text, "effect": "allow", "scope": "always"}
            shown.append(
                facts | {"by": built_in.origin, "until": None, "in_force": built_in.id in in_force}
            )
        return shown

    async def add(self, rule: Rule, by: str) -> None:
        """Put `rule`, made by `by`, in force. Raises BusUnavailable; Conflict when the file cannot
        be written.
        """
        if rule.scope == "always":
            self._add_to_file(rule)
            return
        ttl = RULE_SECONDS[rule.scope]
        kept = Remembered(rule, by, self._clock() + ttl)
        data = encode_payload({"rule": rule.model_dump(), "by": by, "until": kept.until})
        # Stored before it is in force: a rule that Redis refused must not apply until the restart
        # and then be gone.
        await self._bus.put(RULE_PREFIX + rule.id, data, ttl=ttl)
        self._remembered[rule.id] = kept

    async def remove(self, rule_id: str) -> str:
        """Remove a rule and return it in words. Raises NotFound, Conflict for a rule of a setting;
        else as `add`.
        """
        text = self.text_of(rule_id)
        if not text:
            raise NotFound(f"There is no rule {rule_id!r}.")
        built_in = next((rule for rule in self.built_in() if rule.id == rule_id), None)
        if built_in is not None and built_in.removable:
            self._set_removed(self._removed | {rule_id})
        elif rule_id in self._remembered:
            # Deleted from Redis first, for the same reason: a removed rule must not come back with
            # a restart.
            await self._bus.delete(RULE_PREFIX + rule_id)
            del self._remembered[rule_id]
        elif any(rule.id == rule_id for rule in self._lasting):
            self._remove_from_file(rule_id)
        else:
            origin = built_in.origin if built_in is not None else self._settings.origin
            raise Conflict(f"This rule follows from {origin}; change it there.")
        return text

    async def restore(self, rule_id: str) -> str:
        """Put a removed built-in rule in force again and return it in words. Raises NotFound; else
        as `add`.
        """
        rule = next((known for known in BUILT_IN_RULES if known.id == rule_id), None)
        if rule is None:
            raise NotFound(f"There is no built-in rule {rule_id!r}.")
        self._set_removed(self._removed - {rule_id})
        return rule.text

    def _read_file(self) -> None:
        """Read the rules file if it has changed. An unusable file leaves the deny rules of before
        in force.
        """
        try:
            stat = self._path.stat()
            seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        except FileNotFoundError:
            self._lasting = []
            self._removed = frozenset()
            self._seen = None
            self.problem = ""
            return
        except OSError as error:
            self.problem = f"The rules file {self._path} cannot be read: {error.strerror}."
            # Read again at the next request: the file may be the same, and the error over.
            self._seen = None
            return
        # The identity is enough to know that the file has not changed; rules are read at every
        # request.
        if seen == self._seen:
            return
        self._seen = seen
        try:
            # The problem is cleared last: while it stands, `all` returns deny rules alone,
            # whichever reading of the file they come from.
            text = self._path.read_text()
            self._lasting = read_rules(text)
            self._removed = removed_rules(text)
            self.problem = ""
        except (OSError, UnicodeDecodeError) as error:
            self.problem = f"The rules file {self._path} cannot be read: {error}."
        except ClientError as error:
            self.problem = f"The rules file {self._path} cannot be used: {error.message}"

    def _set_removed(self, removed: frozenset[str]) -> None:
        document = self._document()
        document.pop(REMOVED, None)
        text = tomlkit.dumps(document)
        if removed:  # before the tables: a key behind one would belong to it
            text = f"{REMOVED} = {tomlkit.item(sorted(removed)).as_string()}\n{text}"
        self._write(text)

    def _add_to_file(self, rule: Rule) -> None:
        document = self._document()
        if any(rule.id == known.id for known in self._lasting):
            return
        table = tomlkit.table()
        table.update(
            {
                name: value
                for name, value in rule.model_dump(exclude_none=True).items()
                if name != "scope"
            }
        )
        if not document.get("rules"):
            # `rules = []`, as the last removal left it, takes no tables
            document.pop("rules", None)
        document.setdefault("rules", tomlkit.aot()).append(table)
        self._write(tomlkit.dumps(document))

    def _remove_from_file(self, rule_id: str) -> None:
        document = self._document()
        shapes = document.get("rules", [])
        # From the end, so that a removal moves no place that is still to be looked at.
        for place in reversed(range(len(shapes))):
            if Rule.model_validate(shapes[place].unwrap()).id == rule_id:
                del shapes[place]
        self._write(tomlkit.dumps(document))

    def _document(self) -> tomlkit.TOMLDocument:
        """Return the file as a TOML document with comments and order kept. Raises Conflict for a
        file in need of a person's repair.
        """
        self._read_file()
        if self.problem:
            raise Conflict(self.problem)
        try:
            return (
                tomlkit.parse(self._path.read_text()) if self._path.exists() else tomlkit.document()
            )
        except (OSError, TOMLKitError) as error:
            raise Conflict(f"The rules file {self._path} cannot be read: {error}.") from error

    def _write(self, text: str) -> None:
        """Replace the file by renaming, so that no reader meets half a file. A symbolic link stays
        a link.
        """
        # The rename takes the place of the link's target; renamed over the link itself, it would
        # cut the link.
        target = Path(os.path.realpath(self._path))
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # In the same folder, because a rename is one step only within a file system.
            with tempfile.NamedTemporaryFile(
                "w", dir=target.parent, prefix=".rules-", delete=False
            ) as fresh:
                fresh.write(text)
            os.replace(fresh.name, target)
        except OSError as error:
            raise Conflict(
                f"The rules file {target} cannot be written: {error.strerror}."
            ) from error
        self._read_file()
