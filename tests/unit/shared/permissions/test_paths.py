"""A path is plain when every program reads it the same way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.permissions.paths import folded, lies_in, normalised, plain_path


@pytest.mark.parametrize(
    ("path", "absolute"),
    [
        ("/a/b", "/a/b"),
        ("//a//b/", "/a/b"),
        ("/a/./b", "/a/b"),
        ("x", "/srv/dir/x"),
        ("./x y", "/srv/dir/x y"),
        ("...", "/srv/dir/..."),
        ("a~b", "/srv/dir/a~b"),
    ],
)
def test_a_plain_path_is_absolute_and_normalised(path: str, absolute: str) -> None:
    assert plain_path(path, "/srv/dir") == absolute


@pytest.mark.parametrize(
    "path",
    [
        "",
        " /etc/passwd",
        "\t/etc/passwd",
        "/etc/passwd ",
        "/etc/passwd\n",
        "\u00a0/etc/passwd",
        "~/x",
        "~root/x",
        "$HOME/x",
        "/a/%2e%2e/x",
        "/a/../x",
        "..",
        "/a\0b",
        "/a\\b",
        "/a\u202eb",
        "/a\u200bb",
        "/a\ufeffb",
        "file:///etc/passwd",
        "/a\ud800",
        7,
        None,
        ["/a"],
    ],
)
def test_any_other_path_is_not_plain(path: object) -> None:
    assert plain_path(path, "/srv/dir") is None


def test_a_relative_path_needs_a_folder() -> None:
    assert plain_path("x", "") is None
    assert plain_path("x", "here") is None


@given(st.text(alphabet="/.a~ %", max_size=20))
def test_a_plain_path_never_leaves_by_the_way_up(path: str) -> None:
    found = plain_path(path, "/srv/dir")
    assert found is None or ".." not in found.split("/")


def test_only_whole_names_lie_in_a_folder() -> None:
    assert lies_in("/a/b", "/a")
    assert lies_in("/a", "/a")
    assert lies_in("/a", "/")
    assert not lies_in("/ab", "/a")
    assert not lies_in("/", "/a")


def test_the_way_up_ends_at_the_root() -> None:
    assert normalised("/../../a/../b/.") == "/b"


def test_folding_ignores_case_and_unicode_forms() -> None:
    assert folded("/A/e\u0301") == folded("/a/\u00e9")


@pytest.mark.parametrize("folder", ["/srv/\0", "/srv/\ud800/me"], ids=["null", "half a pair"])
def test_a_path_relative_to_a_folder_that_cannot_exist_is_not_plain(folder: str) -> None:
    assert plain_path("notes.txt", folder) is None
    assert plain_path("/etc/hosts", folder) == "/etc/hosts"
