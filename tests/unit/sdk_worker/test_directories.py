from __future__ import annotations

import pytest

from sdk_worker.directories import choose_directory, own_directory
from shared.runtime.errors import ClientError, NotAllowed


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root/project").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root/file").touch()
    return tmp_path / "root"


def test_a_request_that_asks_for_no_directory_gets_the_owners(root):
    assert choose_directory(None, [root]) is None
    assert choose_directory("", []) is None


def test_a_directory_below_a_root_is_given_with_its_links_resolved(root):
    (root / "link").symlink_to(root / "project")
    assert choose_directory(str(root), [root]) == str(root)
    assert choose_directory(str(root / "link/../project"), [root]) == str(root / "project")


@pytest.mark.parametrize(
    "path", ["elsewhere", "root/../elsewhere", "root/way_out", "rooted", "root/../none"]
)
def test_whatever_leads_out_of_the_roots_is_not_allowed_there_or_not(root, path):
    (root / "way_out").symlink_to(root.parent / "elsewhere")
    with pytest.raises(NotAllowed, match="SDK__WORKING_ROOTS"):
        choose_directory(str(root.parent / path), [root])


def test_without_roots_no_directory_can_be_asked_for(root):
    with pytest.raises(NotAllowed):
        choose_directory(str(root), [])


@pytest.mark.parametrize("path", ["none", "file", "a\0b"])
def test_what_is_no_directory_is_the_requests_fault(root, path):
    with pytest.raises(ClientError):
        choose_directory(f"{root}/{path}", [root])


def test_a_relative_path_would_depend_on_where_the_worker_runs(root, monkeypatch):
    monkeypatch.chdir(root)
    with pytest.raises(ClientError, match="absolute"):
        choose_directory("project", [root])


def test_the_own_directory_is_made_for_its_owner_alone(tmp_path):
    made = own_directory(tmp_path / "data/workspace")
    assert made.stat().st_mode & 0o777 == 0o700
    assert own_directory(made) == made


def test_an_own_directory_that_cannot_be_made_names_the_setting(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotAllowed, match="CLAUDE__CODE_OPTIONS__CWD"):
        own_directory(tmp_path / "file/workspace")
