"""A call mentions every path a program could take from its words."""

from __future__ import annotations

from typing import Any

import pytest

from shared.bus.channels import PermissionRequest
from shared.permissions.commands import ANY_TEXT
from shared.permissions.mentions import MOST_PATHS_NAMED, Mention, mentions_of


def named(tool: str, /, **fields: Any) -> list[str]:
    request = PermissionRequest("p1", tool, fields, working_directory="/srv")
    return [mention.path for mention in mentions_of(request, "/me").paths]


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ("cat a", "/srv/a"),
        ("cat --file=a", "/srv/a"),
        ("cat -fa", "/srv/a"),
        ("curl -d @a", "/srv/a"),
        ("scp host:/a", "/a"),
        ("docker -v /a:/b", "/b"),
        ("cat ~/a", "/me/a"),
        ("cat ~you/a", "/~you/a"),
        ("cat a*", f"/srv/a{ANY_TEXT}"),
        ("cd x && cat a", "/srv/x/a"),
        ("make -C x a", "/srv/x/a"),
        ("cd && cat a", "/me/a"),
        ("sh -c 'cat a'", "/srv/a"),
        ("echo $(cat a)", "/srv/a"),
    ],
)
def test_every_part_of_a_word_may_be_a_path(command: str, path: str) -> None:
    assert path in named("Bash", command=command)


def test_a_quoted_text_is_certain_only_behind_a_program_that_runs_it() -> None:
    def sure(command: str) -> bool:
        request = PermissionRequest("p1", "Bash", {"command": command}, working_directory="/srv")
        return any(
            mention.certain
            for mention in mentions_of(request, "/me").paths
            if mention.path == "/srv/a"
        )

    assert sure("sh -c 'cat a'")
    assert not sure("echo 'cat a'")


def test_only_programs_that_read_leave_a_path_unwritten() -> None:
    def writes(command: str) -> bool:
        request = PermissionRequest("p1", "Bash", {"command": command}, working_directory="/srv")
        return any(
            mention.writes
            for mention in mentions_of(request, "/me").paths
            if mention.path == "/srv/a"
        )

    assert not writes("cat a")
    assert not writes("x < a")
    assert writes("x a")
    assert writes("cat x > a")


@pytest.mark.parametrize(
    "command",
    [
        "x" * 4097,
        "$X a",
        "python3 -c x",
        "x | sh",
        "eval x",
        "cat a/../b",
        "cat " + " ".join(str(number) for number in range(MOST_PATHS_NAMED + 1)),
        "; ".join(f"cd {number}" for number in range(40)),
    ],
)
def test_a_command_that_may_touch_more_says_why(command: str) -> None:
    request = PermissionRequest("p1", "Bash", {"command": command}, working_directory="/srv")
    found = mentions_of(request, "/me")
    assert found.unclear
    assert len(found.paths) <= MOST_PATHS_NAMED


def test_a_file_tool_mentions_every_reading_of_its_path() -> None:
    assert set(named("Read", file_path="~/a%2eb ")) == {"/me/a%2eb ", "/me/a%2eb", "/me/a.b"}
    assert named("Read", file_path=None) == []


def test_a_folder_tool_mentions_its_folder_or_the_working_folder() -> None:
    assert named("Grep", pattern="x") == ["/srv"]
    assert named("Glob", path="a", pattern="**/x") == ["/srv/a"]
    assert named("Grep", path="a", glob="x.py") == ["/srv/a", "/srv/a/x.py"]


def test_the_input_of_an_unknown_tool_is_searched_for_paths() -> None:
    assert named("mcp__x__y", deep=[{"path": "/a"}, 7, "words alone"]) == ["/a"]
    assert named("TodoWrite", todos=["/a"]) == []


def test_a_reading_tool_walks_below_its_folder_only_when_it_looks_inside() -> None:
    request = PermissionRequest("p1", "Grep", {"path": "/a"}, working_directory="/srv")
    assert mentions_of(request, "/me").paths == [Mention("/a", walks=True)]
    request.tool_name = "LS"
    assert mentions_of(request, "/me").paths == [Mention("/a")]
