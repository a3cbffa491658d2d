"""The addresses of the gateway: one spelling for each, and a helpful 404 for a request that just
misses an address.

A base address often has a slash too many, so `//` and a slash at the end are folded before any code
looks at the path: the guard must see the very path that is served. No other miss is corrected; the
404 names the address meant.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet

SLASHES = re.compile(r"/{2,}")
PARAMETER = re.compile(r"\{[^}]+\}")
# Segments that clients' base addresses often lack, or have without need.
BASE_SEGMENTS = frozenset({"api", "codex", "sdk", "v1", "anthropic", "openai"})
NAMED_AT_MOST = 3


def fold_slashes(path: str) -> str:
    """Return `path` with single slashes and without a slash at the end."""
    if "//" not in path and not path.endswith("/"):
        return path
    return SLASHES.sub("/", path).rstrip("/") or "/"


class Addresses:
    """The methods of every served address. A template such as `/files/{file_id}` serves many.

    `pages` are the addresses for browsers: no client means one of them.
    """

    def __init__(
        self,
        served: Mapping[str, AbstractSet[str]],
        pages: Mapping[str, AbstractSet[str]] | None = None,
    ) -> None:
        self._pages = pages or {}
        self._methods = {
            path: frozenset(methods) for path, methods in {**self._pages, **served}.items()
        }
        self._patterns = [(pattern_of(path), path) for path in self._methods if "{" in path]

    def methods(self, path: str) -> frozenset[str]:
        """Return the methods served at `path`, HEAD and OPTIONS included; none for an address that
        does not exist.
        """
        found = self._methods.get(path, frozenset())
        if not found:
            matching = [template for pattern, template in self._patterns if pattern.fullmatch(path)]
            found = frozenset().union(*(self._methods[template] for template in matching))
        if not found:
            return found
        return found | {"OPTIONS"} | ({"HEAD"} if "GET" in found else set())

    def meant(self, path: str) -> list[str]:
        """Return the served addresses that `path` probably means, the most likely first; often an
        empty list.
        """
        plain = [
            served for served in self._methods if "{" not in served and served not in self._pages
        ]
        named = distinctive(path)
        same = [served for served in plain if named and distinctive(served) == named]
        if same:
            first = path.split("/")[1]
            same.sort(key=lambda served: (served.split("/")[1] != first, "/v1/" not in served))
            likely = [served for served in same if served.split("/")[1] == first]
            return (likely[:1] or same)[:NAMED_AT_MOST]
        return difflib.get_close_matches(path, plain, n=1, cutoff=0.85)


def distinctive(path: str) -> list[str]:
    """Return the segments of `path` without the segments of a base address."""
    return [segment for segment in path.split("/") if segment and segment not in BASE_SEGMENTS]


def pattern_of(template: str) -> re.Pattern[str]:
    """Return the pattern of the paths that `template` serves; a parameter is a single segment."""
    fixed = [re.escape(part) for part in PARAMETER.split(template)]
    return re.compile("[^/]+".join(fixed))
