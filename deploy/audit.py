"""Compares the product's locks with a database of known vulnerabilities, without a network:
`make audit DATABASE=osv.zip`.

The database is an export of OSV: a zip file of advisories in JSON, of PyPI alone or of everything.
What the database says wrongly or not at all, this says too; an advisory about a locked package that
cannot be read is an error, never a pass.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from deploy.locks import LockedPackage, product_packages
from shared.runtime.visible_text import cut, visible_line

ECOSYSTEM = "PyPI"
CLEAN, VULNERABLE, WRONG_DATABASE = 0, 1, 2

BEFORE_ALL = "0.dev0"
LONGEST_SUMMARY = 160

Advisory = Mapping[str, Any]


class WrongDatabaseError(Exception):
    """The file is no database that an audit can trust."""


@dataclass(frozen=True, order=True)
class Finding:
    """One advisory that affects one locked package."""

    package: str
    version: str
    advisory: str
    fixed: str
    summary: str

    def __str__(self) -> str:
        remedy = f"fixed in {self.fixed}" if self.fixed else "no fixed version"
        return f"{self.advisory}: {self.package} {self.version}, {remedy}: {self.summary}"


def read_advisories(database: Path) -> Iterator[Advisory]:
    """Yield each advisory of `database`; raise WrongDatabaseError for a file that has none."""
    try:
        with zipfile.ZipFile(database) as archive:
            names = [name for name in archive.namelist() if name.endswith(".json")]
            for name in names:
                yield parsed(name, archive.read(name))
    except OSError as error:
        raise WrongDatabaseError(f"{database} cannot be read: {error.strerror}.") from None
    except zipfile.BadZipFile as error:
        raise WrongDatabaseError(f"{database} is no whole zip file: {error}.") from None


def parsed(name: str, text: bytes) -> Advisory:
    try:
        advisory = json.loads(text)
    except ValueError as error:
        raise WrongDatabaseError(f"{name} is no JSON: {error}.") from None
    if not isinstance(advisory, dict) or not isinstance(advisory.get("id"), str):
        raise WrongDatabaseError(f"{name} is no advisory of OSV: it has no id.")
    return advisory


def affected_parts(advisory: Advisory) -> Iterator[tuple[str, Advisory]]:
    """Yield each part of `advisory` about a package of Python, with the package's name."""
    for part in advisory.get("affected", ()):
        package = part.get("package", {})
        if package.get("ecosystem", "").partition(":")[0] == ECOSYSTEM:
            yield canonicalize_name(package["name"]), part


def is_affected(version: Version, part: Advisory) -> bool:
    """Return whether `part` of an advisory lists `version`, or has a range that holds it."""
    if any(same_version(listed, version) for listed in part.get("versions", ())):
        return True
    return any(
        in_range(version, each["events"])
        for each in part.get("ranges", ())
        if each.get("type") != "GIT"  # commits, which say nothing about a version
    )


def same_version(listed: str, version: Version) -> bool:
    """Return whether `listed` is `version`; old releases with other spellings never are."""
    try:
        return Version(listed) == version
    except InvalidVersion:
        return False


def in_range(version: Version, events: Iterable[Mapping[str, str]]) -> bool:
    """Return whether `version` lies behind an `introduced` and before the event that ends it. The
    version "0" of an advisory comes before every other, also before 0.0.0b1.
    """
    affected = False
    steps = [
        (Version(BEFORE_ALL if place == "0" else place), kind)
        for event in events
        for kind, place in event.items()
        if kind in {"introduced", "fixed", "last_affected"}
    ]
    for place, kind in sorted(steps, key=lambda step: step[0]):
        if kind == "introduced" and version >= place:
            affected = True
        elif (kind == "fixed" and version >= place) or (
            kind == "last_affected" and version > place
        ):
            affected = False
    return affected


def next_fix(version: Version, part: Advisory) -> str:
    """Return the lowest fixed version above `version`, or an empty text."""
    fixes = [
        event["fixed"]
        for each in part.get("ranges", ())
        if each.get("type") != "GIT"
        for event in each["events"]
        if "fixed" in event and Version(event["fixed"]) > version
    ]
    return min(fixes, key=Version, default="")


def findings(advisory: Advisory, packages: Mapping[str, LockedPackage]) -> Iterator[Finding]:
    """Yield what `advisory` says about the locked versions of `packages`."""
    if advisory.get("withdrawn"):
        return
    also = f" ({', '.join(sorted(advisory['aliases']))})" if advisory.get("aliases") else ""
    details = advisory.get("details", "").strip().partition("\n")[0]
    said = advisory.get("summary") or details or "no summary"
    summary = cut(" ".join(said.split()), LONGEST_SUMMARY)
    for name, part in affected_parts(advisory):
        if name not in packages:
            continue
        version = Version(packages[name].version)
        if is_affected(version, part):
            fixed = next_fix(version, part)
            yield Finding(name, str(version), f"{advisory['id']}{also}", fixed, summary)


def audit(database: Path, packages: Mapping[str, LockedPackage]) -> tuple[list[Finding], str]:
    """Return all findings about `packages`, and the day of the newest advisory in `database`."""
    found: set[Finding] = set()
    newest = ""
    for advisory in read_advisories(database):
        try:
            if any(True for _ in affected_parts(advisory)):
                newest = max(newest, advisory["modified"])
                found.update(findings(advisory, packages))
        except (LookupError, TypeError, AttributeError, InvalidVersion) as error:
            raise WrongDatabaseError(
                f"The advisory {advisory['id']} cannot be read: {error}."
            ) from None
    if not newest:
        raise WrongDatabaseError(f"{database} has no advisory about packages of {ECOSYSTEM}.")
    return sorted(found), newest[:10]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or not arguments[0]:
        sys.stderr.write("Name the database: make audit DATABASE=osv.zip\n")
        return WRONG_DATABASE
    packages = product_packages()
    try:
        found, day = audit(Path(arguments[0]), packages)
    except WrongDatabaseError as error:
        sys.stderr.write(f"{visible_line(str(error))}\n")
        return WRONG_DATABASE
    for finding in found:
        sys.stdout.write(f"{visible_line(str(finding))}\n")
    if found:
        return VULNERABLE
    said = f"{len(packages)} packages, no known vulnerability in a database of {day}"
    sys.stdout.write(f"{said}\n")
    return CLEAN


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
