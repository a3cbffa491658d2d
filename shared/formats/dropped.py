"""The fields of a prompt that a request leaves out, in the words of the client.

Invariant: each field is named once, as the client spelled it.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.formats.ir import Prompt


class DroppedFields:
    """The fields dropped by the reader of `prompt`, and then the fields dropped by a writer."""

    def __init__(self, prompt: Prompt) -> None:
        self._spell = prompt.spell
        self._names = dict.fromkeys(prompt.dropped)

    @property
    def dropped(self) -> tuple[str, ...]:
        return tuple(self._names)

    def drop(self, *names: str) -> None:
        """Report the fields `names` as left out of the request."""
        self._names.update(dict.fromkeys(map(self._spell, names)))

    def drop_inside(self, name: str, paths: Iterable[str]) -> None:
        """Report the `paths` inside the field `name` as left out of the request."""
        self._names.update({self._spell(name, path): None for path in paths})
