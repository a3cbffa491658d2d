"""A login file other programs write too: what is read, and what is never done to it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from shared.accounts.store import TORN_SECONDS, CredentialFile, LoginDraft, overwrite


@pytest.fixture
def file(tmp_path: Path) -> CredentialFile:
    (tmp_path / "login.json").write_text('{"a": 1}')
    return CredentialFile(tmp_path / "login.json")


def test_a_file_that_was_replaced_is_read_again_and_an_unchanged_one_is_not(
    file: CredentialFile,
) -> None:
    first = file.read()
    assert first == {"a": 1}
    assert file.read(fresh=True) is first
    other = file.path.with_name("other")
    other.write_text('{"a": 2}')
    other.rename(file.path)
    assert file.read() is first  # within a second nobody looks
    assert file.read(fresh=True) == {"a": 2}


def test_a_file_that_appears_after_the_start_is_found(tmp_path: Path) -> None:
    file = CredentialFile(tmp_path / "late.json")
    assert file.read() is None
    assert file.problem == "does not exist"
    file.path.write_text("{}")
    assert file.read(fresh=True) == {}
    assert file.problem == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is not valid JSON"),
        ("[" * 3000 + "]" * 3000, "is not valid JSON"),
        ("[]", "is not a JSON object"),
    ],
)
def test_a_file_that_makes_no_sense_is_named(file: CredentialFile, text: str, problem: str) -> None:
    file = CredentialFile(file.path)
    file.path.write_text(text)
    assert file.read(fresh=True) is None
    assert file.problem == problem


@pytest.mark.parametrize("torn", ["", "{", '{"a": 1, "b"'])
def test_a_file_that_is_just_being_written_keeps_its_last_content_for_a_moment(
    tmp_path: Path, torn: str
) -> None:
    now = 100.0
    file = CredentialFile(tmp_path / "login.json", lambda: now)
    file.path.write_text('{"a": 1}')
    assert file.read() == {"a": 1}
    file.path.write_text(torn)
    assert file.read(fresh=True) == {"a": 1}
    assert file.is_torn
    assert "another program is just writing" in file.obstacle()
    file.path.write_text('{"a": 2}')
    assert file.read() == {"a": 2}, "it is looked at again at once, not in a second"
    assert not file.is_torn
    file.path.write_text(torn)
    assert file.read(fresh=True) == {"a": 2}
    now += TORN_SECONDS
    assert file.read(fresh=True) is None
    assert file.problem == "is not valid JSON"
    assert not file.is_torn


def test_a_file_that_is_removed_while_it_is_torn_is_gone(file: CredentialFile) -> None:
    file.read()
    file.path.write_text("{")
    file.read(fresh=True)
    file.path.unlink()
    assert file.read(fresh=True) is None
    assert not file.is_torn


def test_a_directory_in_the_place_of_the_file_is_told_with_its_cause(tmp_path: Path) -> None:
    file = CredentialFile(tmp_path)
    assert file.read() is None
    assert "a container makes one" in file.problem


def test_a_file_that_can_be_replaced_has_no_obstacle(file: CredentialFile) -> None:
    assert file.obstacle() == ""


def test_a_read_only_file_is_left_alone_also_by_root(file: CredentialFile) -> None:
    file.path.chmod(0o400)
    assert "read-only" in file.obstacle()


def test_a_file_replaced_behind_its_mount_is_told(tmp_path: Path) -> None:
    """A mount of a single file whose original was renamed over shows as an inode without a name."""
    path = tmp_path / "gone.json"
    path.write_text("{}")
    with path.open() as held:
        path.unlink()
        assert (
            "behind the mount" in CredentialFile(Path(f"/proc/self/fd/{held.fileno()}")).obstacle()
        )


def test_the_lock_is_for_one_and_free_when_closed(file: CredentialFile) -> None:
    lock = file.try_lock()
    assert lock is not None
    assert CredentialFile(file.path).try_lock() is None
    lock.close()
    again = CredentialFile(file.path).try_lock()
    assert again is not None
    again.close()


def test_a_new_file_is_for_its_owner_alone_and_leaves_nothing_beside(tmp_path: Path) -> None:
    file = CredentialFile(tmp_path / "new.json")
    file.write(b'{"b": 1}')
    assert file.read() == {"b": 1}
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["new.json"]


def test_a_link_stays_a_link(file: CredentialFile, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(file.path)
    CredentialFile(link).write(b'{"b": 1}')
    assert link.is_symlink()
    assert file.read(fresh=True) == {"b": 1}


def test_a_draft_tells_whether_it_was_left_by_somebody(file: CredentialFile) -> None:
    draft = file.draft("refresh-1")
    assert not draft.interrupted
    draft.reserve()
    assert file.draft("refresh-1").interrupted
    assert not file.draft("refresh-1").is_complete()
    assert not file.draft("refresh-2").interrupted
    draft.write(b'{"a": 2}')
    assert file.draft("refresh-1").is_complete()


def test_a_draft_in_its_place_clears_away_older_ones(file: CredentialFile) -> None:
    file.draft("older").reserve()
    draft = file.draft("refresh-1")
    draft.reserve()
    draft.write(b'{"a": 2}')
    draft.promote()
    assert file.read(fresh=True) == {"a": 2}
    assert os.listdir(file.path.parent) == ["login.json"]


def test_a_file_that_cannot_be_renamed_over_is_written_in_place(
    file: CredentialFile, tmp_path: Path
) -> None:
    """As a single file mounted into a container; a directory of another kind gives the same refusal
    here.
    """
    inode = file.path.stat().st_ino

    class Elsewhere(LoginDraft):
        def _rename(self) -> None:
            raise OSError(errno.EBUSY, "busy")

    draft = Elsewhere(file.path, tmp_path / "draft")
    draft.reserve()
    draft.write(b'{"a": 3}')
    draft.promote()
    assert file.read(fresh=True) == {"a": 3}
    assert file.path.stat().st_ino == inode
    assert not draft.path.exists()


@pytest.mark.parametrize("text", ['{"short": 1}', json.dumps({"long": "x" * 500})])
def test_what_is_written_in_place_is_whole(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file"
    path.write_text(json.dumps({"a": "y" * 100}))
    overwrite(path, text.encode())
    assert path.read_text() == text
