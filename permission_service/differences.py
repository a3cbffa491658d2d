"""The lines that a change takes away and adds, with their numbers and the lines around them. Pure,
and bounded.

Invariant: the work is bounded by `Effort`, not by the input. In the worst case comparing lines
costs the cube of their number, so each comparison is paid from one budget per permission request;
beyond the budget all old lines are shown as removed and all new lines as added, which is true as
well.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from shared.permissions.presented import DiffRow
from shared.runtime.visible_text import visible

CONTEXT_LINES = 3
PLACES_SHOWN = 20  # of one replacement that is made everywhere in a file
COMPARISONS = 2_000_000  # per permission request, at most some 50 ms; 125 lines with 125 others


@dataclass(slots=True)
class Effort:
    """The comparisons of lines left for a permission request."""

    comparisons: int = COMPARISONS

    def pays(self, old: list[str], new: list[str]) -> bool:
        """Take the comparison of `old` with `new` from the budget. Return False when the budget is
        too small.
        """
        cost = len(old) * len(new) * min(len(old), len(new))
        if cost > self.comparisons:
            return False
        self.comparisons -= cost
        return True


@dataclass(frozen=True, slots=True)
class Replacement:
    """The lines from index `start` of a file, `removed`, become `added`."""

    start: int
    removed: list[str]
    added: list[str]


def lines_of(text: str) -> list[str]:
    """Return the lines of `text`. A line end at the end of the text begins no further line."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def find_replacements(
    text: str, old: str, new: str, *, everywhere: bool
) -> tuple[list[Replacement], int]:
    """Return what replacing `old` with `new` does to the lines of `text`, and at how many places.

    Only the first PLACES_SHOWN places are returned. An empty `old` is found nowhere.
    """
    if not old:
        return [], 0
    count = text.count(old) if everywhere else int(old in text)
    found: list[Replacement] = []
    places = 0
    line = 0
    counted = 0
    at = text.find(old)
    while at >= 0 and places < min(count, PLACES_SHOWN):
        # Widen the place to whole lines, together with every further place that begins on them.
        begin = text.rfind("\n", 0, at) + 1
        line += text.count("\n", counted, begin)
        counted = begin
        replaced = 0
        while True:
            end = at + len(old)
            # The place ends with the line on which the replaced text ends.
            stop = text.find("\n", end)
            stop = len(text) if stop < 0 else stop
            replaced += 1
            at = text.find(old, end)
            # A further place on the same lines belongs to this replacement: shown apart, the two
            # would each show the other's text unchanged.
            if not everywhere or not 0 <= at <= stop or places + replaced >= PLACES_SHOWN:
                break
        places += replaced
        before = text[begin:stop]
        found.append(
            Replacement(line, lines_of(before), lines_of(before.replace(old, new, replaced)))
        )
    return found, count


def rows_of(
    replacement: Replacement, file_lines: list[str] | None, offset: int, effort: Effort
) -> list[DiffRow]:
    """Return the rows of a replacement. `offset` is the number of lines added by the earlier
    replacements.

    Without `file_lines` the file is unknown: no row has a number, and no lines of the file stand
    around the change.
    """
    removed = replacement.removed
    added = replacement.added
    known = file_lines is not None
    first_old = replacement.start + 1
    first_new = first_old + offset

    def row(mark: str, text: str, old: int | None, new: int | None) -> DiffRow:
        numbers = (old, new) if known else (None, None)
        return DiffRow(mark, visible(text), *numbers)  # type: ignore[arg-type]

    rows: list[DiffRow] = []
    for kind, old_from, old_to, new_from, new_to in compare(removed, added, effort):
        if kind == "equal":
            for place in range(old_to - old_from):
                old = first_old + old_from + place
                new = first_new + new_from + place
                rows.append(row(" ", removed[old_from + place], old, new))
            continue
        rows += [
            row("-", removed[place], first_old + place, None) for place in range(old_from, old_to)
        ]
        rows += [
            row("+", added[place], None, first_new + place) for place in range(new_from, new_to)
        ]
    if file_lines is None:
        return rows
    # The lines of the file around the change.
    begin = max(0, replacement.start - CONTEXT_LINES)
    stop = replacement.start + len(removed)
    above = [
        row(" ", file_lines[at], at + 1, at + 1 + offset) for at in range(begin, replacement.start)
    ]
    # Below the change the new numbers are ahead of the old ones by what this replacement adds as
    # well.
    grown = offset + len(added) - len(removed)
    end = min(len(file_lines), stop + CONTEXT_LINES)
    below = [row(" ", file_lines[at], at + 1, at + 1 + grown) for at in range(stop, end)]
    return above + rows + below


def compare(old: list[str], new: list[str], effort: Effort) -> list[tuple[str, int, int, int, int]]:
    """Return the steps from `old` to `new`, as `difflib.SequenceMatcher.get_opcodes` does.

    Equal lines at both ends cost nothing; the lines between are compared while `effort` lasts.
    """
    head = 0
    shorter = min(len(old), len(new))
    # Most changes are small, so the equal ends are taken off before the budget is asked.
    while head < shorter and old[head] == new[head]:
        head += 1
    tail = 0
    # Not beyond the head: with repeated lines the two would count one line twice.
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    old_end = len(old) - tail
    new_end = len(new) - tail
    old_middle = old[head:old_end]
    new_middle = new[head:new_end]
    steps = [("equal", 0, head, 0, head)] if head else []
    if effort.pays(old_middle, new_middle):
        matcher = difflib.SequenceMatcher(None, old_middle, new_middle, autojunk=False)
        for kind, old_from, old_to, new_from, new_to in matcher.get_opcodes():
            steps.append((kind, old_from + head, old_to + head, new_from + head, new_to + head))
    else:
        # Beyond the budget: all old lines removed, all new lines added. That is longer, and true as
        # well.
        steps.append(("replace", head, old_end, head, new_end))
    if tail:
        steps.append(("equal", old_end, len(old), new_end, len(new)))
    return steps


def whole_file_rows(old_text: str, new_text: str, effort: Effort) -> list[DiffRow] | None:
    """Return the rows from the old text to the new text, without equal lines far from a change.

    None when the two have so little in common that the new text alone says more than a diff.
    """
    old = lines_of(old_text)
    new = lines_of(new_text)
    steps = compare(old, new, effort)
    kept = sum(step[2] - step[1] for step in steps if step[0] == "equal")
    # Less than half in common: the diff would be longer than the new text and harder to read.
    if 2 * kept < max(len(old), len(new)):
        return None
    rows: list[DiffRow] = []
    for kind, old_from, old_to, new_from, new_to in steps:
        if kind != "equal":
            rows += [DiffRow("-", visible(old[at]), old=at + 1) for at in range(old_from, old_to)]
            rows += [DiffRow("+", visible(new[at]), new=at + 1) for at in range(new_from, new_to)]
            continue
        # Of a long run of equal lines only those beside a change are shown.
        length = old_to - old_from
        after = CONTEXT_LINES if old_from else 0
        before = CONTEXT_LINES if old_to < len(old) or new_to < len(new) else 0
        shown = set(range(min(after, length))) | set(range(max(0, length - before), length))
        for place in sorted(shown):
            if place and place - 1 not in shown and rows:
                rows.append(DiffRow("@", f"{length - len(shown)} lines that stay as they are"))
            rows.append(
                DiffRow(
                    " ", visible(old[old_from + place]), old_from + place + 1, new_from + place + 1
                )
            )
    return rows
