"""The difference between two captured requests: first by blocks, then by the lines of the blocks
that changed.

The time is bounded: of very long texts only the beginning and the end that both have are left out,
and the middle is shown as replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any

from gateway.capture.blocks import PromptBlock, cut_in_middle
from shared.runtime.visible_text import visible, visible_line

MOST_LINES = 1000  # of the changed middle of a text, that are compared one by one
MOST_SHOWN = 400  # lines of one block's difference
CONTEXT = 2  # unchanged lines beside a change
LONGEST_LINE = 2000  # characters


def blocks_difference(before: list[PromptBlock], after: list[PromptBlock]) -> list[dict[str, Any]]:
    """Return the changes from `before` to `after`, in the order of `after`.

    A change is `same` (with the number of blocks), `added`, `removed` or `changed`, which has the
    lines.
    """
    found: list[dict[str, Any]] = []
    matcher = SequenceMatcher(
        None, [each.digest for each in before], [each.digest for each in after], autojunk=False
    )
    for tag, old, old_end, new, new_end in matcher.get_opcodes():
        if tag == "equal":
            same = after[new:new_end]
            tokens = sum(block.tokens for block in same)
            found.append({"change": "same", "blocks": len(same), "tokens": tokens})
            continue
        for one, other in zip_longest(before[old:old_end], after[new:new_end]):
            found += _change(one, other)
    return found


def _change(before: PromptBlock | None, after: PromptBlock | None) -> Iterator[dict[str, Any]]:
    if before is not None and after is not None and before.kind == after.kind:
        yield {
            "change": "changed",
            "label": visible_line(after.label),
            "tokens": after.tokens,
            "tokens_before": before.tokens,
            "lines": changed_lines(before.text, after.text),
        }
        return
    for change, block in (("removed", before), ("added", after)):
        if block is not None:
            yield {
                "change": change,
                "label": visible_line(block.label),
                "tokens": block.tokens,
                "text": visible(cut_in_middle(block.text)),
            }


def changed_lines(before: str, after: str) -> list[dict[str, str]]:
    """Return the changed lines with some context, as `mark` (`+`, `-`, ` ` or `@`) and `text`."""
    old = before.split("\n")
    new = after.split("\n")
    start = _common(old, new)
    end = _common(old[start:][::-1], new[start:][::-1])
    middle_old = old[start : len(old) - end]
    middle_new = new[start : len(new) - end]
    lines: list[dict[str, str]] = []
    if start > CONTEXT:
        lines.append(_line("@", f"{start - CONTEXT:,} equal lines"))
    lines += [_line(" ", text) for text in old[max(0, start - CONTEXT) : start]]
    lines += _middle(middle_old, middle_new)
    tail = old[len(old) - end :]
    lines += [_line(" ", text) for text in tail[:CONTEXT]]
    if len(tail) > CONTEXT:
        lines.append(_line("@", f"{len(tail) - CONTEXT:,} equal lines"))
    if len(lines) > MOST_SHOWN:
        hidden = len(lines) - MOST_SHOWN
        lines = [*lines[:MOST_SHOWN], _line("@", f"{hidden:,} more lines")]
    return lines


def _middle(old: list[str], new: list[str]) -> Iterator[dict[str, str]]:
    if max(len(old), len(new)) > MOST_LINES:
        yield from (_line("-", text) for text in old)
        yield from (_line("+", text) for text in new)
        return
    for tag, first, last, start, end in SequenceMatcher(
        None, old, new, autojunk=False
    ).get_opcodes():
        if tag == "equal":
            same = old[first:last]
            if len(same) <= 2 * CONTEXT + 1:
                yield from (_line(" ", text) for text in same)
            else:
                yield from (_line(" ", text) for text in same[:CONTEXT])
                yield _line("@", f"{len(same) - 2 * CONTEXT:,} equal lines")
                yield from (_line(" ", text) for text in same[-CONTEXT:])
            continue
        yield from (_line("-", text) for text in old[first:last])
        yield from (_line("+", text) for text in new[start:end])


def _common(old: list[str], new: list[str]) -> int:
    """Return the number of equal lines at the beginning of both."""
    for number, (one, other) in enumerate(zip(old, new, strict=False)):
        if one != other:
            return number
    return min(len(old), len(new))


def _line(mark: str, text: str) -> dict[str, str]:
    return {"mark": mark, "text": visible_line(cut_in_middle(text, LONGEST_LINE))}
