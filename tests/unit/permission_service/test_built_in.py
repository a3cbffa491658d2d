"""The built-in rules allow what certainly stays inside the working folder, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from permission_service.built_in import CONVERSATION, EDITING, READING, BuiltInRule
from shared.bus.channels import PermissionRequest
from shared.permissions.reach import Reach, ReachedPath, reach_of


def request(
    tool: str, given: dict[str, Any], folder: Any, *, here: bool = True
) -> PermissionRequest:
    reach = reach_of(tool, given, str(folder)) if here else None
    return PermissionRequest("r", tool, given, working_directory=str(folder), reach=reach)


@pytest.mark.parametrize(
    ("tool", "given", "covering"),
    [
        ("Read", {"file_path": "a"}, [READING, EDITING]),
        ("Read", {"file_path": "/etc/passwd"}, []),
        ("Read", {"file_path": "../a"}, []),
        ("Read", {"file_path": 5}, []),
        ("Grep", {"pattern": "x"}, [READING, EDITING]),
        ("Grep", {"pattern": "x", "path": "/etc"}, []),
        ("Glob", {"pattern": "/etc/*"}, []),
        ("Write", {"file_path": "a", "content": "x"}, [EDITING]),
        ("Edit", {"file_path": "/etc/passwd", "old_string": "x", "new_string": "y"}, []),
        ("Bash", {"command": "cat a"}, [READING, EDITING]),
        ("Bash", {"command": "cat /etc/passwd"}, []),
        ("Bash", {"command": "cat a; rm a"}, []),
        ("Bash", {"command": "cat a", "dangerouslyDisableSandbox": True}, []),
        ("Bash", {"command": "rm a"}, []),
        ("WebFetch", {"url": "https://example.com", "prompt": "x"}, []),
        ("mcp__owners__look", {}, []),
        ("AskUserQuestion", {"questions": []}, []),
        ("ExitPlanMode", {"plan": "p"}, []),
        ("Task", {"description": "d", "prompt": "p"}, [CONVERSATION]),
        ("TodoWrite", {"todos": []}, [CONVERSATION]),
        ("CronCreate", {"cron": "* * * * *", "prompt": "x"}, []),
    ],
)
def test_each_rule_covers_its_own_kind_of_call(
    tmp_path: Any, tool: str, given: dict[str, Any], covering: list[BuiltInRule]
) -> None:
    asked = request(tool, given, tmp_path.resolve())
    assert [rule for rule in (READING, CONVERSATION, EDITING) if rule.covers(asked)] == covering


def test_a_link_that_leaves_the_folder_is_outside(tmp_path: Any) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "work/link").symlink_to(tmp_path / "secret")
    assert not READING.covers(request("Read", {"file_path": "link"}, (tmp_path / "work").resolve()))


def test_without_the_reach_of_the_tools_machine_nothing_is_known_to_be_inside(
    tmp_path: Any,
) -> None:
    assert not READING.covers(request("Read", {"file_path": "a"}, tmp_path, here=False))


def test_a_reach_that_is_not_complete_is_not_inside(tmp_path: Any) -> None:
    reach = Reach([ReachedPath(f"{tmp_path}/a", f"{tmp_path}/a")], complete=False)
    asked = PermissionRequest(
        "r", "Bash", {"command": "x"}, working_directory=str(tmp_path), reach=reach
    )
    assert not READING.covers(asked)
