"""The packages that the product's locks pin, with their hashes and licences.

The locks say what is installed, whatever this machine has: a package for another system or Python
is in them too. `deploy/licences.toml` has the licence of each package. `make sbom`, `make audit`
and the page about dependencies are made from both, so they name the same packages.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
PRODUCT = "ccproxy-stack"
# Each lock that a release is installed from, and the extra of the product that it adds.
PRODUCT_LOCKS = {
    "requirements.lock": "",
    "requirements-demo.lock": "bundled-cli",
    "requirements-otel.lock": "otel",
}
ENTRY_BEGINS = re.compile(r"\n(?=\S)")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
BROUGHT_BY = re.compile(r"^ +# +(?:via +)?(?!-c )([a-z0-9-]+)", re.MULTILINE)


@dataclass(frozen=True)
class LockedPackage:
    """One package of a lock. `condition` is the marker of the systems that need it, `brought_by`
    are the packages that need it, `extra` is the extra of the product that it belongs to.
    """

    name: str
    version: str
    condition: str
    hashes: tuple[str, ...]
    brought_by: frozenset[str]
    extra: str = ""


@dataclass(frozen=True)
class Licences:
    """The SPDX expression of each package, remarks on some packages, and what each allowed licence
    asks of whoever passes the product on.
    """

    packages: dict[str, str]
    remarks: dict[str, str]
    allowed: dict[str, str]


def read_lock(text: str) -> Iterator[LockedPackage]:
    """Yield each package of the lock `text`; raise ValueError for an entry without one version."""
    for entry in ENTRY_BEGINS.split(text.strip()):
        first = entry.splitlines()[0].removesuffix("\\")
        requirement = Requirement(first)
        pins = list(requirement.specifier)
        if len(pins) != 1 or pins[0].operator != "==":
            raise ValueError(f"The lock does not pin one version: {first}")
        yield LockedPackage(
            name=requirement.name,
            version=pins[0].version,
            condition=str(requirement.marker or ""),
            hashes=tuple(HASH.findall(entry)),
            brought_by=frozenset(BROUGHT_BY.findall(entry)) - {"via"},
        )


@cache
def product_packages() -> dict[str, LockedPackage]:
    """Return every package of the product's locks by its name; what several locks have counts to
    the first one.
    """
    found: dict[str, LockedPackage] = {}
    for lock, extra in PRODUCT_LOCKS.items():
        for package in read_lock((ROOT / lock).read_text()):
            first = found.get(package.name, replace(package, extra=extra))
            if first.version != package.version:
                raise ValueError(f"{lock} has another version of {package.name} than others.")
            both = first.brought_by | package.brought_by
            found[package.name] = replace(first, brought_by=both)
    return dict(sorted(found.items()))


@cache
def read_licences() -> Licences:
    return Licences(**tomllib.loads((ROOT / "deploy/licences.toml").read_text()))
