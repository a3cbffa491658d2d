from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.runtime.files import (
    create_private,
    file_identity,
    identity_or_none,
    replace_private,
    replacement,
)


def test_a_file_is_replaced_for_its_owner_alone_and_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "deep/target", tmp_path / "link"
    link.symlink_to(target)
    replace_private(link, "one")
    target.chmod(0o644)
    replace_private(link, "two")
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("two", 0o600)
    assert link.is_symlink()
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_failed_replacement_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "taken/inside").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        replace_private(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_draft_that_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / f".target.{os.getpid()}").write_text("half")
    replace_private(tmp_path / "target", "whole")
    assert (tmp_path / "target").read_text() == "whole"


@pytest.mark.parametrize(("mode", "expected"), [(None, 0o644), (0o640, 0o640)])
def test_a_draft_is_its_owners_alone_until_it_is_whole(
    tmp_path: Path, mode: int | None, expected: int
) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    target.chmod(0o644)
    with replacement(target, mode=mode) as draft:
        draft.write(b"secret")
        draft.flush()
        assert os.stat(draft.name).st_mode & 0o777 == 0o600
        assert target.read_text() == "old"
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("secret", expected)


def test_a_new_file_without_a_mode_is_private(tmp_path: Path) -> None:
    with replacement(tmp_path / "target", mode=None) as draft:
        draft.write(b"new")
    assert (tmp_path / "target").stat().st_mode & 0o777 == 0o600


def write_half_and_be_interrupted(path: Path) -> None:
    with replacement(path) as draft:
        draft.write(b"half")
        raise KeyboardInterrupt


def test_an_exception_in_the_block_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    replace_private(tmp_path / "target", b"old", durable=False)
    with pytest.raises(KeyboardInterrupt):
        write_half_and_be_interrupted(tmp_path / "target")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_file_has_another_identity_after_a_replacement_and_after_a_change(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert identity_or_none(path) is None
    with pytest.raises(FileNotFoundError):
        file_identity(path)
    replace_private(path, "one")
    first = file_identity(path)
    assert identity_or_none(path) == first
    replace_private(path, "two")
    second = file_identity(path)
    path.write_text("three")
    assert len({first, second, file_identity(path)}) == 3


def test_a_private_file_is_made_once_and_the_first_one_stays(tmp_path: Path) -> None:
    target = tmp_path / "new/key"
    create_private(target, b"first")
    create_private(target, b"second")
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"first", 0o600)
    assert target.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in target.parent.iterdir()] == ["key"]
