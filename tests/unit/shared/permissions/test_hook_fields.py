"""The fields of a hook as `ccproxy hook` reads them and adds to them."""

from __future__ import annotations

from pathlib import Path

from shared.permissions.hook_fields import links_of, tool_input


def test_a_path_through_a_link_is_reported_with_its_real_path(tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("/etc")
    given = {"file_path": str(link / "x")}
    assert links_of("Read", given, str(tmp_path)) == {str(link / "x"): "/etc/x"}
    assert links_of("Read", {"file_path": "/etc/x"}, str(tmp_path)) == {}


def test_links_of_paths_that_no_disk_takes_are_none() -> None:
    assert links_of("Read", {"file_path": "/a\0b"}, "/u/w") == {}


def test_an_input_that_is_no_object_becomes_a_field() -> None:
    assert tool_input({"tool_input": {"a": 1}}) == {"a": 1}
    assert tool_input({"tool_input": "text"}) == {"input": "text"}
    assert tool_input({}) == {"input": None}
