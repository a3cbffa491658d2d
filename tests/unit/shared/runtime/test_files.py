from __future__ import annotations

import os
from pathlib import Path

import pytest

from shared.runtime.files import replace_private


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
