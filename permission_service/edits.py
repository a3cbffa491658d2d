"""The calls that change a file: what they take away and add, against the file as it is where the
tool runs.

The SDK worker sends the text of the file with the request (`PermissionAsk.file_before`). Without
that text the change is shown from the input alone, and the presentation says that the file was not
read.
"""

from __future__ import annotations

import json
from typing import Any

from permission_service.differences import (
    PLACES_SHOWN,
    Replacement,
    find_replacements,
    lines_of,
    rows_of,
    whole_file_rows,
)
from permission_service.draft import Draft, OddShape, count_lines, line, lines_in_words
from shared.bus.channels import FileBefore
from shared.permissions.presented import Block, DiffRow

NOT_READ = "The file was not read, so the change stands here without line numbers."
ROWS_SHOWN = 8_000  # of all diffs of a request; beyond that, texts are shown instead
EDITS_AGAINST_FILE = 50  # of one MultiEdit; each further one is shown from the input alone


def present_edit(draft: Draft) -> None:
    """Present an Edit: the replacement of a text in the file."""
    path = draft.take_text("file_path")
    old = draft.take_text("old_string")
    new = draft.take_text("new_string")
    everywhere = draft.take_flag("replace_all")
    if not old:
        _present_new_file(draft, path, new)
        return
    draft.title = f"Edit {draft.place(path)}"
    add_path(draft, path)
    file_text = _text_before(draft)
    _add_change(draft, "Change", file_text, old, new, everywhere=everywhere)


def present_multi_edit(draft: Draft) -> None:
    """Present a MultiEdit: several replacements in a file, applied in order."""
    path = draft.take_text("file_path")
    edits = draft.left.get("edits")
    if not isinstance(edits, list) or not edits:
        raise OddShape("edits")
    changes = [_edit_of(edit) for edit in edits]
    del draft.left["edits"]
    draft.title = (
        f"Edit {draft.place(path)} at {len(changes)} places" if len(changes) > 1 else f"Edit {path}"
    )
    add_path(draft, path)
    file_text = _text_before(draft)
    for number, (old, new, everywhere) in enumerate(changes, 1):
        # Each edit against the file costs a search through the whole file.
        if number > EDITS_AGAINST_FILE:
            file_text = None
        _add_change(
            draft, f"Change {number} of {len(changes)}", file_text, old, new, everywhere=everywhere
        )
        if file_text is not None and old:
            # The next edit meets the file as this one leaves it, as the tool applies them.
            file_text = file_text.replace(old, new, -1 if everywhere else 1)


def _edit_of(edit: Any) -> tuple[str, str, bool]:
    """Return the parts of an edit of a MultiEdit. Raises OddShape, also for an unknown field."""
    if not isinstance(edit, dict) or set(edit) - {"old_string", "new_string", "replace_all"}:
        raise OddShape("edits")
    old = edit.get("old_string")
    new = edit.get("new_string")
    everywhere = edit.get("replace_all", False)
    if not isinstance(old, str) or not isinstance(new, str) or not isinstance(everywhere, bool):
        raise OddShape("edits")
    return old, new, everywhere


def present_write(draft: Draft) -> None:
    """Present a Write: a file gets a new text as a whole."""
    path = draft.take_text("file_path")
    content = draft.take_text("content")
    _present_new_file(draft, path, content)


def _present_new_file(draft: Draft, path: str, content: str) -> None:
    before = draft.request.file_before
    place = draft.place(path)
    size = lines_in_words(count_lines(content))
    if before is None:
        draft.title = f"Write {place} ({size})"
        add_path(draft, path)
        draft.add_text(
            "New text",
            content,
            note="The folder was not read: a file of this name may be overwritten.",
        )
        return
    if not before.exists:
        draft.title = f"Create {place} ({size})"
        add_path(draft, path)
        draft.add_text("New file", content)
        return
    if before.text is None:
        draft.title = f"Write over {place}"
        add_path(draft, path)
        draft.add_text(
            "New text", content, note=f"It replaces a file that was not read: {before.unread}."
        )
        return
    draft.title = f"Write over {place} ({lines_in_words(count_lines(before.text))})"
    add_path(draft, path)
    replaced = f"{lines_in_words(count_lines(before.text))} become {size}."
    rows = whole_file_rows(before.text, content, draft.effort)
    if rows is None or _rows_so_far(draft) + len(rows) > ROWS_SHOWN:
        draft.add_text("New text", content, note=f"It replaces the whole file: {replaced}")
    elif not rows:
        draft.add_text("New text", content, note="The file has this text already.")
    else:
        draft.add_block(Block("Change", "diff", rows=rows, note=replaced))


def present_notebook_edit(draft: Draft) -> None:
    """Present a NotebookEdit: a cell of a notebook is replaced, inserted or deleted."""
    path = draft.take_text("notebook_path")
    mode = draft.left.pop("edit_mode", "replace")
    source = draft.left.pop("new_source", "")
    cell = draft.left.pop("cell_id", "")
    if (
        mode not in ("replace", "insert", "delete")
        or not isinstance(source, str)
        or not isinstance(cell, str)
    ):
        raise OddShape("edit_mode")
    place = draft.place(path)
    titles = {
        "replace": "Change a cell of",
        "insert": "Insert a cell into",
        "delete": "Delete a cell of",
    }
    draft.title = f"{titles[mode]} {place}"
    add_path(draft, path)
    label = {"replace": "New cell", "insert": "New cell after", "delete": "Cell"}[mode]
    label = f"{label} {cell}" if cell else label
    old = _cell_source(draft.request.file_before, cell)
    if mode == "delete":
        draft.add_text(f"{label} is deleted", old or "", note="" if old is not None else NOT_READ)
        if source:
            draft.add_text("New text, without effect", source)
    elif mode == "replace" and old is not None:
        replacement = Replacement(0, lines_of(old), lines_of(source))
        _add_rows(draft, f"Cell {cell}", rows_of(replacement, [], 0, draft.effort), "")
    else:
        draft.add_text(label, source)


def _cell_source(before: FileBefore | None, cell: str) -> str | None:
    """Return the text of one cell of a notebook; None when the notebook or the cell is
    not known.
    """
    if before is None or before.text is None or not cell:
        return None
    try:
        cells = json.loads(before.text)["cells"]
        sources = [each["source"] for each in cells if each.get("id") == cell]
        return "".join(sources[0]) if sources else None
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None


def add_path(draft: Draft, path: str) -> None:
    """Add the whole path, and the file behind the path when a link leads elsewhere."""
    draft.add_line("File", path)
    reach = draft.request.reach
    for reached in reach.paths if reach else []:
        if reached.real != reached.asked:
            draft.warn(f"The path leads through a link to {line(reached.real)}.")


def _text_before(draft: Draft) -> str | None:
    before = draft.request.file_before
    return before.text if before is not None and before.exists else None


def _rows_so_far(draft: Draft) -> int:
    return sum(len(block.rows) for block in draft.blocks)


def _add_change(
    draft: Draft, label: str, file_text: str | None, old: str, new: str, *, everywhere: bool
) -> None:
    """Add one replacement as a diff, or as two texts when a diff would have too many rows."""
    if file_text is None:
        before = draft.request.file_before
        note = f"The file was not read: {before.unread}." if before and before.unread else NOT_READ
        if before is not None and not before.exists:
            note = "There is no such file, so the tool will fail."
        if everywhere:
            note += " Every place that holds the text is changed."
        _add_given(draft, label, old, new, note)
        return
    found, places = find_replacements(file_text, old, new, everywhere=everywhere)
    if not found:
        _add_given(
            draft,
            label,
            old,
            new,
            "The file does not hold the text to be replaced, so the tool will fail.",
        )
        return
    note = f"The same change is made at {places:,} places" if places > 1 else ""
    note += (
        f"; the first {PLACES_SHOWN} are shown." if places > PLACES_SHOWN else "." if note else ""
    )
    file_lines = lines_of(file_text)
    rows: list[DiffRow] = []
    grown = 0
    for replacement in found:
        if rows:
            # A gap between two places; the line number is that of the old file.
            rows.append(DiffRow("@", f"line {replacement.start + 1}"))
        rows += rows_of(replacement, file_lines, grown, draft.effort)
        # Later places move by the lines that earlier places added.
        grown += len(replacement.added) - len(replacement.removed)
    _add_rows(draft, label, rows, note, (old, new))


def _add_given(draft: Draft, label: str, old: str, new: str, note: str) -> None:
    """Add a replacement from the input alone, without the file."""
    removed = lines_of(old)
    added = lines_of(new)
    if _rows_so_far(draft) + len(removed) + len(added) > ROWS_SHOWN:
        _add_texts(draft, label, note, (old, new))
        return
    rows = rows_of(Replacement(0, removed, added), None, 0, draft.effort)
    _add_rows(draft, label, rows, note, (old, new))


def _add_rows(
    draft: Draft, label: str, rows: list[DiffRow], note: str, texts: tuple[str, str] = ("", "")
) -> None:
    """Add `rows`, or `texts` when there are too many rows or when only a line end at the end of the
    file changes.
    """
    changes = any(row.mark in "+-" for row in rows)
    if _rows_so_far(draft) + len(rows) <= ROWS_SHOWN and (changes or texts[0] == texts[1]):
        draft.add_block(Block(line(label), "diff", rows=rows, note=note))
        return
    _add_texts(draft, label, note, texts)


def _add_texts(draft: Draft, label: str, note: str, texts: tuple[str, str]) -> None:
    draft.add_text(f"{label}: text removed", texts[0], note=note)
    draft.add_text(f"{label}: text added", texts[1])


EDIT_TOOLS = {
    "Edit": present_edit,
    "MultiEdit": present_multi_edit,
    "Write": present_write,
    "NotebookEdit": present_notebook_edit,
}
