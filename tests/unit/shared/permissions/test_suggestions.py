"""A suggestion is never wider than what the person has read."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from shared.bus.channels import PermissionRequest
from shared.permissions.commands import program_of
from shared.permissions.programs import RUNNERS
from shared.permissions.reach import Reach, ReachedPath
from shared.permissions.rules import judge, read_rule
from shared.permissions.suggestions import suggest


def ask(tool: str = "Bash", /, **given: Any) -> PermissionRequest:
    return PermissionRequest(
        "p1", tool, given, caller="alice", session_id="s1", working_directory="/srv/dir"
    )


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (ask(command="git status -s"), {"tool": "Bash", "command_prefix": "git status"}),
        (ask(command="echo hello"), {"tool": "Bash", "command_prefix": "echo"}),
        (ask(command="touch x"), {"tool": "Bash", "command_prefix": "touch", "under": "/srv/dir"}),
        (
            ask(command="cat a/x b/y"),
            {"tool": "Bash", "command_prefix": "cat", "under": "/srv/dir"},
        ),
        (ask(command="cat /etc/passwd a"), {"tool": "Bash", "command": "cat /etc/passwd a"}),
        (ask(command="cat *"), {"tool": "Bash", "command": "cat *"}),
        (ask(command="ls; rm x"), None),
        (ask(command="x" * 5000), None),
        (ask(command="ls", dangerouslyDisableSandbox=True), None),
        (ask(command=7), None),
        (ask(command=" cat a\\ "), {"tool": "Bash", "command": " cat a\\ "}),
        (ask("Write", file_path="a.txt"), {"tool": "Write", "under": "/srv/dir"}),
        (ask("Write", file_path="/a.txt"), None),
        (ask("Write", file_path="~/a.txt"), None),
        (ask("Grep", pattern="x"), {"tool": "Grep", "under": "/srv/dir"}),
        (ask("Glob", pattern="/etc/*"), None),
        (ask("WebFetch", url="https://example.com/x"), {"tool": "WebFetch", "host": "example.com"}),
        (ask("WebFetch", url="https://ex%61mple.com/x"), None),
        (ask("mcp__db__read", q=1), {"tool": "mcp__db__read"}),
        (ask("AskUserQuestion"), None),
    ],
)
def test_what_the_like_means_is_suggested(
    request_: PermissionRequest, expected: dict[str, str] | None
) -> None:
    assert suggest(request_) == expected


@pytest.mark.parametrize(
    "command",
    [
        "git -C /r status",
        "git -c core.pager=x log",
        "git push",
        "git diff",
        "git st",
        "bash build.sh",
        "sh -x",
        "sudo ls",
        "env",
        "python3 x.py",
        "python3.12 -m x",
        "node x.js",
        "perl x",
        "ssh host",
        "xargs ls",
        "find . -name x",
        "npx x",
        "make test",
        "uv run pytest",
        "npm run x",
        "npm exec x",
        "docker run x",
        "docker exec x",
        "rm x",
        "curl x",
        "wget x",
        "mv a b",
        "sed -n 1p x",
        "awk x",
        "ls -R",
        "/bin/cat x",
        "unheard-of x",
    ],
)
def test_any_other_program_is_suggested_exactly_or_not_at_all(command: str) -> None:
    assert suggest(ask(command=command)) == {"tool": "Bash", "command": command}


@pytest.mark.parametrize("program", sorted(RUNNERS))
def test_a_program_that_runs_others_never_gets_a_prefix(program: str) -> None:
    suggested = suggest(ask(command=f"{program} x y"))
    assert suggested is None or "command_prefix" not in suggested


def test_the_folder_is_the_one_the_tool_really_touches() -> None:
    request = ask("Write", file_path="link/x")
    request.reach = Reach([ReachedPath("/srv/dir/link/x", "/tmp/x", writes=True)], complete=True)
    assert suggest(request) == {"tool": "Write", "under": "/tmp"}


@pytest.mark.parametrize(
    "command", ["git status -s", "echo x", "touch x", "rm -rf 'a b'", "  make  test "]
)
def test_a_suggested_rule_covers_the_request_itself(command: str) -> None:
    request = ask(command=command)
    suggested = suggest(request)
    assert suggested is not None
    assert judge(request, [read_rule(suggested)]).outcome == "allow"
    assert program_of(shlex.split(command)[0]) in " ".join(suggested.values())
