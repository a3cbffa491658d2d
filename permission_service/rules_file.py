"""The owner's rules file: read again when it has changed, and changed in place with comments and
order kept.

Invariants: an unusable file is never written over. While the file is unusable `content` is that of
the last good reading, and `problem` says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from shared.permissions.rules import Rule
from shared.permissions.rules_text import (
    ACTIVE,
    PROFILES,
    REMOVED,
    RULES,
    RulesText,
    SwitchedProfiles,
    read_rules_text,
)
from shared.runtime.errors import ClientError, Conflict
from shared.runtime.files import file_identity, replace_private

NO_RULES = RulesText()  # of a file that is not there; one object, because a new one is a change


class RulesFile:
    """The file at `path`. Call `read` before a look at `content` or `problem`."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self.content = NO_RULES
        self.problem = ""
        self._seen: tuple[int, ...] | None = None

    def read(self) -> RulesText:
        """Read the file if it has changed, and return the last good content."""
        try:
            seen = file_identity(self.path)
        except FileNotFoundError:
            self.content = NO_RULES
            self._seen = None
            self.problem = ""
            return self.content
        except OSError as error:
            self.problem = f"The rules file {self.path} cannot be read: {error.strerror}."
            # Read again at the next request: the file may be the same, and the error over.
            self._seen = None
            return self.content
        # The identity is enough to know that the file has not changed; rules are read at every
        # request.
        if seen == self._seen:
            return self.content
        self._seen = seen
        try:
            # The problem is cleared last: while it stands, only deny rules are in force, whichever
            # reading of the file they come from.
            self.content = read_rules_text(self.path.read_text())
            self.problem = ""
        except (OSError, UnicodeDecodeError) as error:
            self.problem = f"The rules file {self.path} cannot be read: {error}."
        except ClientError as error:
            self.problem = f"The rules file {self.path} cannot be used: {error.message}"
        return self.content

    def add(self, rule: Rule) -> None:
        """Add a rule, to a profile if the rule names a profile. Raises Conflict."""
        document = self._document()
        if any(rule.id == known.id for known in self._known_rules()):
            return
        table = tomlkit.table()
        table.update(rule.model_dump(exclude_none=True, exclude={"scope", "profile"}))
        place = document if rule.profile is None else _profile_table(document, rule.profile)
        if not place.get(RULES):
            # `rules = []`, as the last removal left it, takes no tables
            place.pop(RULES, None)
        place.setdefault(RULES, tomlkit.aot()).append(table)
        self._write(tomlkit.dumps(document))

    def remove(self, rule_id: str) -> None:
        """Remove the rule `rule_id` from every place in the file. Raises Conflict."""
        document = self._document()
        _remove_shapes(document.get(RULES, []), rule_id, {})
        for name, table in document.get(PROFILES, {}).items():
            _remove_shapes(table.get(RULES, []), rule_id, {"profile": name})
        self._write(tomlkit.dumps(document))

    def set_removed(self, removed: Iterable[str]) -> None:
        """Replace the list of the removed built-in rules. Raises Conflict."""
        document = self._document()
        document.pop(REMOVED, None)
        text = tomlkit.dumps(document)
        if ids := sorted(removed):  # before the tables: a key behind one would belong to it
            text = f"{REMOVED} = {tomlkit.item(ids).as_string()}\n{text}"
        self._write(text)

    def switch(self, switched: SwitchedProfiles) -> None:
        """Replace the choice of the profiles in force. Raises Conflict."""
        document = self._document()
        table = tomlkit.table()
        table[PROFILES] = list(switched.active)
        table["while_away"] = list(switched.while_away)
        table["by"] = switched.by
        table["at"] = switched.at
        # In the place of the old table, if there was one, so that its comments around stay.
        document[ACTIVE] = table
        self._write(tomlkit.dumps(document))

    def append(self, text: str) -> None:
        """Add tables at the end of the file. Raises Conflict."""
        before = tomlkit.dumps(self._document())
        self._write(f"{before.rstrip()}\n\n{text}" if before.strip() else text)

    def _known_rules(self) -> list[Rule]:
        of_profiles = [rule for known in self.content.profiles.values() for rule in known.rules]
        return [*self.content.rules, *of_profiles]

    def _document(self) -> tomlkit.TOMLDocument:
        """Return the file as a TOML document with comments and order kept. Raises Conflict for a
        file in need of a person's repair.
        """
        self.read()
        if self.problem:
            raise Conflict(self.problem)
        try:
            return (
                tomlkit.parse(self.path.read_text()) if self.path.exists() else tomlkit.document()
            )
        except (OSError, TOMLKitError) as error:
            raise Conflict(f"The rules file {self.path} cannot be read: {error}.") from error

    def _write(self, text: str) -> None:
        """Replace the file; a symbolic link stays a link. Raises Conflict."""
        try:
            # A text that could not be read back would end every rule at once.
            read_rules_text(text)
        except ClientError as error:
            raise Conflict(
                f"The rules file {self.path} has a form that cannot be changed here: "
                f"{error.message}. Change it by hand."
            ) from error
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            replace_private(self.path, text)
        except OSError as error:
            raise Conflict(
                f"The rules file {self.path} cannot be written: {error.strerror}."
            ) from error
        self.read()


def _profile_table(document: tomlkit.TOMLDocument, name: str) -> Any:
    profiles = document.setdefault(PROFILES, tomlkit.table(is_super_table=True))
    return profiles.setdefault(name, tomlkit.table())


def _remove_shapes(shapes: Any, rule_id: str, more: dict[str, str]) -> None:
    # From the end, so that a removal moves no place that is still to be looked at.
    for place in reversed(range(len(shapes))):
        if Rule.model_validate(shapes[place].unwrap() | more).id == rule_id:
            del shapes[place]
