"""Labels of workers: what they look like, in settings and in requests.

A worker serves a queue for every set of its labels, so a worker has few of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import combinations
from typing import Annotated

from pydantic import AfterValidator

# A worker with four labels and a name serves 16 queues, each with a connection to Redis: half of
# the connections of a process.
MOST_LABELS = 4
# A host's name with a process id, the longest name that a worker gives itself, fits too.
PLAIN_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", re.ASCII)


def check_label(text: str) -> str:
    """Return `text` if it may be a label. Raises ValueError."""
    if not PLAIN_LABEL.fullmatch(text):
        raise ValueError(
            f"{text!r} is not a label: 1 to 80 letters, digits, dots, dashes or underscores, the "
            "first one a letter or a digit"
        )
    return text


Label = Annotated[str, AfterValidator(check_label)]


def label_sets(labels: Iterable[str]) -> Iterator[frozenset[str]]:
    """Yield every set of one or more of `labels`, the smallest first."""
    different = sorted(set(labels))
    for size in range(1, len(different) + 1):
        for chosen in combinations(different, size):
            yield frozenset(chosen)
