"""The file is read as the tool will find it, or the reason says why not; nothing blocks and nothing
raises.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdk_worker.file_before import MAX_BYTES, read_file_before
from shared.bus.channels import FileBefore


def read(path: str, folder: str = "/", tool: str = "Edit") -> FileBefore | None:
    return read_file_before(tool, {"file_path": path}, folder)


def test_a_file_is_read_from_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    expected = FileBefore(f"{tmp_path}/a.py", exists=True, text="x = 1\n")
    assert read("a.py", str(tmp_path)) == read(f"{tmp_path}/a.py") == expected
    assert read("b.py", str(tmp_path)) == FileBefore(f"{tmp_path}/b.py", exists=False)


def test_a_file_that_is_no_short_text_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "long").write_bytes(b"x" * (MAX_BYTES + 1))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        name: getattr(read(name, str(tmp_path)), "unread", "")
        for name in ("long", "bytes", "pipe", ".")
    }
    assert reasons == {
        "long": "it is longer than 256 KB",
        "bytes": "it is no text in UTF-8",
        "pipe": "it is no regular file",
        ".": "it is no regular file",
    }


@pytest.mark.parametrize("path", ["", "a\0b", "relative"])
def test_a_path_that_cannot_be_known_is_not_read(path: str) -> None:
    assert read(path, folder="") is None


def test_only_tools_that_change_a_file_have_one() -> None:
    assert read("/etc/hostname", tool="Read") is None
    assert read_file_before("Edit", {"file_path": 5}, "/") is None
    assert read_file_before("Bash", {"command": "ls"}, "/") is None


def test_a_name_that_no_file_can_have_raises_nothing() -> None:
    assert read("/\ud800") == FileBefore("/\ud800", exists=True, unread="its name is not valid")
    assert getattr(read("/" + "x" * 5000), "unread", "") == "file name too long"
