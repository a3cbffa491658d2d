"""A change to a file is shown against the file as it is where the tool runs."""

from __future__ import annotations

import orjson
import pytest

from shared.bus.channels import FileBefore
from shared.permissions.reach import Reach, ReachedPath
from tests.unit.permission_service.presenting import FOLDER, blocks, diff, presented


def test_an_edit_is_a_diff_against_the_file_with_line_numbers() -> None:
    text = "".join(f"line {number}\n" for number in range(1, 10))
    before = FileBefore("/a.py", True, text)
    shown = presented(
        "Edit",
        {
            "file_path": "/a.py",
            "old_string": "line 5\n",
            "new_string": "line five\n",
            "replace_all": False,
        },
        file_before=before,
    )
    assert diff(shown) == [
        " line 2",
        " line 3",
        " line 4",
        "-line 5",
        "+line five",
        " line 6",
        " line 7",
        " line 8",
        " line 9",
    ]
    assert [(row.old, row.new) for row in shown.blocks[1].rows if row.mark in "+-"] == [
        (5, None),
        (None, 5),
    ]
    assert [block.kind for block in shown.blocks] == ["line", "diff"]


@pytest.mark.parametrize(
    ("before", "note"),
    [
        (None, "The file was not read"),
        (FileBefore("/a.py", True, None, "it is longer than 256 KB"), "it is longer than 256 KB"),
        (FileBefore("/a.py", False), "no such file"),
        (FileBefore("/a.py", True, "other\n"), "does not hold the text"),
    ],
)
def test_an_edit_without_its_place_says_so(before: FileBefore | None, note: str) -> None:
    shown = presented(
        "Edit", {"file_path": "/a.py", "old_string": "one", "new_string": "two"}, file_before=before
    )
    assert diff(shown) == ["-one", "+two"]
    assert note in shown.blocks[1].note
    assert all(row.old is None and row.new is None for row in shown.blocks[1].rows)


def test_several_edits_are_made_one_after_the_other() -> None:
    edits = [{"old_string": "a", "new_string": "b\nb"}, {"old_string": "c", "new_string": "d"}]
    shown = presented(
        "MultiEdit",
        {"file_path": "/x", "edits": edits},
        file_before=FileBefore("/x", True, "a\nc\n"),
    )
    assert shown.title == "Edit /x at 2 places"
    assert [row.old for row in shown.blocks[2].rows if row.mark == "-"] == [3]


def test_every_place_of_a_replacement_is_counted() -> None:
    given_input = {"file_path": "/x", "old_string": "a", "new_string": "b", "replace_all": True}
    shown = presented("Edit", given_input, file_before=FileBefore("/x", True, "a\n" * 30))
    assert "30 places" in shown.blocks[1].note
    assert "first 20" in shown.blocks[1].note
    assert sum(line[0] == "-" for line in diff(shown)) == 20


def test_writing_over_a_file_says_how_much_it_replaces() -> None:
    old = "".join(f"{number}\n" for number in range(120))
    given_input = {"file_path": f"{FOLDER}/notes.md", "content": old.replace("60\n", "sixty\n")}
    shown = presented("Write", given_input, file_before=FileBefore("/x", True, old))
    assert shown.title == "Write over notes.md (120 lines)"
    assert {"-60", "+sixty"} <= set(diff(shown))
    assert len(diff(shown)) < 12
    other = presented(
        "Write", given_input | {"content": "new\n"}, file_before=FileBefore("/x", True, old)
    )
    assert ("New text", "new\n") in blocks(other)
    assert "120 lines become 1 line" in other.blocks[1].note


@pytest.mark.parametrize(
    ("before", "title"),
    [
        (None, "Write /x (2 lines)"),
        (FileBefore("/x", False), "Create /x (2 lines)"),
        (FileBefore("/x", True, None, "it is no text"), "Write over /x"),
    ],
)
def test_writing_a_file_says_whether_there_is_one(before: FileBefore | None, title: str) -> None:
    assert (
        presented("Write", {"file_path": "/x", "content": "a\nb"}, file_before=before).title
        == title
    )


def test_a_notebook_cell_is_compared_with_the_one_before() -> None:
    notebook = orjson.dumps({"cells": [{"id": "c1", "source": ["a\n", "b"]}]}).decode()
    given_input = {"notebook_path": "/x.ipynb", "cell_id": "c1", "new_source": "a\nc"}
    shown = presented(
        "NotebookEdit", given_input, file_before=FileBefore("/x.ipynb", True, notebook)
    )
    assert diff(shown) == [" a", "-b", "+c"]
    for text in ("{", '{"cells": 5}', '{"cells": [5]}', '{"cells": [{"id": "c1"}]}'):
        shown = presented(
            "NotebookEdit", given_input, file_before=FileBefore("/x.ipynb", True, text)
        )
        assert ("New cell c1", "a\nc") in blocks(shown)
    assert (
        presented("NotebookEdit", given_input | {"edit_mode": "delete"}).title
        == "Delete a cell of /x.ipynb"
    )


def test_a_link_in_the_path_is_named() -> None:
    reach = Reach([ReachedPath("/x", "/etc/passwd", writes=True)], complete=True)
    shown = presented("Write", {"file_path": "/x", "content": "a"}, reach=reach)
    assert shown.warnings == ["The path leads through a link to /etc/passwd."]
