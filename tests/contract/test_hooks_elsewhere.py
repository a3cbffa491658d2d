"""A hook of another machine is judged by the paths as that machine reported them: the links of this
machine change nothing.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.permission_stack import Front, running_desk, running_front

RULES = """
[[rules]]
tool = "Read"
under = "{place}/work"

[[rules]]
tool = "Read"
under = "{place}/linked"

[[rules]]
effect = "deny"
tool = "Read"
under = "{place}/secret"
"""


@pytest.fixture
async def front(redis_url: str, tmp_path: Path) -> AsyncIterator[Front]:
    for name in ("work", "secret", "real"):
        (tmp_path / name).mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    rules = tmp_path / "rules.toml"
    rules.write_text(RULES.format(place=tmp_path))
    async with running_desk(redis_url, rules), running_front(redis_url) as front:
        yield front


async def decided(front: Front, machine: str, path: Path, **added: Any) -> str:
    """Return the behavior that a hook of `machine` gets for reading `path`."""
    body = {
        "hook_event_name": "PermissionRequest",
        "tool_name": "Read",
        "cwd": "/w",
        "tool_input": {"file_path": str(path)},
        **added,
    }
    headers = {"x-ccproxy-machine": machine}
    answer = await front.client.post("/hooks/permission-request", json=body, headers=headers)
    return answer.json().get("hookSpecificOutput", {}).get("decision", {}).get("behavior", "none")


async def test_a_link_here_at_the_reported_path_counts_for_this_machine_only(
    front: Front, tmp_path: Path
) -> None:
    asked = tmp_path / "work/notes/a.txt"
    here = socket.gethostname()
    assert await decided(front, "laptop", asked) == "allow"
    assert await decided(front, here, asked) == "allow"
    (tmp_path / "work/notes").symlink_to(tmp_path / "secret")
    assert await decided(front, "laptop", asked) == "allow"
    assert await decided(front, here, asked) == "deny"


async def test_a_link_that_the_other_machine_reported_counts(front: Front, tmp_path: Path) -> None:
    asked = tmp_path / "work/notes/a.txt"
    reported = {"ccproxy": {"links": {str(asked): str(tmp_path / "secret/a.txt")}}}
    assert await decided(front, "laptop", asked, **reported) == "deny"
    elsewhere = {"ccproxy": {"links": {str(asked): "/other/a.txt"}}}
    assert await decided(front, "laptop", asked, **elsewhere) == "none"


async def test_a_link_here_at_the_folder_of_a_rule_widens_it_for_this_machine_only(
    front: Front, tmp_path: Path
) -> None:
    here = socket.gethostname()
    assert await decided(front, here, tmp_path / "real/a.txt") == "allow"
    assert await decided(front, "laptop", tmp_path / "real/a.txt") == "none"
    assert await decided(front, "laptop", tmp_path / "linked/a.txt") == "allow"
