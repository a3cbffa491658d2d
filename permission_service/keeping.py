"""What outlives the desk: its cases in Redis, the rules of sessions and callers beside them, the lasting rules in a
TOML file that belongs to the user.

The desk is the only writer, so what it has read once it need not read again; the file alone is looked at each time.
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

from permission_service.desk import HISTORY_SECONDS, Case
from shared.bus import Bus
from shared.channels import decode, encode
from shared.errors import BusUnavailable, ClientError, Conflict, NotFound
from shared.permissions.rules import Rule, read_rules

CASE_PREFIX = "permission:case:"
RULE_PREFIX = "permission:rule:"
FOR_EVER_SECONDS = 30 * 86400.0  # Redis keeps nothing without an end; the ask itself stays in its channel
RULE_SECONDS = {"session": 86400.0, "caller": 30 * 86400.0}
RETRY_SECONDS = 0.2
PATIENCE_SECONDS = 15.0  # longer than the bus keeps a call through an outage of Redis


async def insist(write: Callable[[], Any]) -> None:
    """Do a write of the bus again until it succeeds. Raises BusUnavailable when Redis stays away for long."""
    loop = asyncio.get_running_loop()
    late = loop.time() + PATIENCE_SECONDS
    while True:
        try:
            await write()
        except BusUnavailable:
            if loop.time() > late:
                raise
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


class CaseStore:
    """The cases of the desk, each under a key that outlives it by the desk's memory."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def load(self) -> list[Case]:
        found = await self._bus.scan(CASE_PREFIX)
        return [decode(Case, data) for data in found.values()]

    async def delete(self, case: Case) -> None:
        """Raises BusUnavailable; the key then ends by itself."""
        await self._bus.delete(CASE_PREFIX + case.id)

    async def save(self, case: Case, *, now: float) -> None:
        """Raises BusUnavailable."""
        left = 0.0 if case.closed else FOR_EVER_SECONDS if case.expires_at is None else max(0, case.expires_at - now)
        await self._bus.put(CASE_PREFIX + case.id, encode(case), ttl=left + HISTORY_SECONDS)


@dataclass(frozen=True, slots=True)
class Remembered:
    """A rule of a session or a caller, who made it, and when it ends (UTC seconds)."""

    rule: Rule
    by: str
    until: float


class RuleBook:
    """Every rule there is. `problem` says why the file cannot be used; no rule allows anything while it cannot."""

    def __init__(self, bus: Bus, path: Path, clock: Callable[[], float]) -> None:
        self.problem = ""
        self._bus, self._clock = bus, clock
        self._path = path.expanduser()
        self._remembered: dict[str, Remembered] = {}
        self._lasting: list[Rule] = []
        self._seen: tuple[int, ...] | None = None

    async def load(self) -> None:
        """Raises BusUnavailable."""
        found = await self._bus.scan(RULE_PREFIX)
        for data in found.values():
            kept = decode(Remembered, data)
            self._remembered[kept.rule.id] = kept

    def all(self) -> list[Rule]:
        """Those of the file first. With an unusable file only what denies is left."""
        now = self._clock()
        self._remembered = {key: kept for key, kept in self._remembered.items() if kept.until > now}
        self._read_file()
        rules = self._lasting + [kept.rule for kept in self._remembered.values()]
        return [rule for rule in rules if rule.effect == "deny"] if self.problem else rules

    def find(self, rule_id: str) -> Rule | None:
        return next((rule for rule in self.all() if rule.id == rule_id), None)

    def describe(self) -> list[dict[str, Any]]:
        """Every rule as it is shown: its id, where it comes from, and until when it holds."""
        shown = []
        for rule in self.all():
            kept = self._remembered.get(rule.id)
            origin = {"by": kept.by, "until": kept.until} if kept else {"by": str(self._path), "until": None}
            shown.append({"id": rule.id, "text": rule.describe(), **rule.model_dump(exclude_none=True), **origin})
        return shown

    async def add(self, rule: Rule, by: str) -> None:
        """Raises BusUnavailable; Conflict when the file cannot be written."""
        if rule.scope == "always":
            self._add_to_file(rule)
            return
        ttl = RULE_SECONDS[rule.scope]
        kept = Remembered(rule, by, self._clock() + ttl)
        data = encode({"rule": rule.model_dump(), "by": by, "until": kept.until})
        await self._bus.put(RULE_PREFIX + rule.id, data, ttl=ttl)
        self._remembered[rule.id] = kept

    async def remove(self, rule_id: str) -> Rule:
        """Raises NotFound; else as `add`."""
        rule = self.find(rule_id)
        if rule is None:
            raise NotFound(f"There is no rule {rule_id!r}.")
        if rule_id in self._remembered:
            await self._bus.delete(RULE_PREFIX + rule_id)
            del self._remembered[rule_id]
        else:
            self._remove_from_file(rule_id)
        return rule

    def _read_file(self) -> None:
        """Only when it has changed. What cannot be read leaves the deny rules of before in force."""
        try:
            stat = self._path.stat()
            seen = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        except FileNotFoundError:
            self._lasting, self._seen, self.problem = [], None, ""
            return
        except OSError as error:
            self.problem = f"The rules file {self._path} cannot be read: {error.strerror}."
            return
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._lasting, self.problem = read_rules(self._path.read_text()), ""
        except (OSError, UnicodeDecodeError) as error:
            self.problem = f"The rules file {self._path} cannot be read: {error}."
        except ClientError as error:
            self.problem = f"The rules file {self._path} cannot be used: {error.message}"

    def _add_to_file(self, rule: Rule) -> None:
        document = self._document()
        if any(rule.id == known.id for known in self._lasting):
            return
        table = tomlkit.table()
        table.update({name: value for name, value in rule.model_dump(exclude_none=True).items() if name != "scope"})
        document.setdefault("rules", tomlkit.aot()).append(table)
        self._write(tomlkit.dumps(document))

    def _remove_from_file(self, rule_id: str) -> None:
        document = self._document()
        shapes = document.get("rules", [])
        for place in reversed(range(len(shapes))):
            if Rule.model_validate(shapes[place].unwrap()).id == rule_id:
                del shapes[place]
        self._write(tomlkit.dumps(document))

    def _document(self) -> tomlkit.TOMLDocument:
        """The file with its comments and order. Raises Conflict for one that should be mended by hand first."""
        self._read_file()
        if self.problem:
            raise Conflict(self.problem)
        try:
            return tomlkit.parse(self._path.read_text()) if self._path.exists() else tomlkit.document()
        except (OSError, TOMLKitError) as error:
            raise Conflict(f"The rules file {self._path} cannot be read: {error}.") from error

    def _write(self, text: str) -> None:
        """By rename, so that a reader never meets half a file. A link stays a link."""
        target = Path(os.path.realpath(self._path))
        try:
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=target.parent, prefix=".rules-", delete=False) as fresh:
                fresh.write(text)
            os.replace(fresh.name, target)
        except OSError as error:
            raise Conflict(f"The rules file {target} cannot be written: {error.strerror}.") from error
        self._read_file()
