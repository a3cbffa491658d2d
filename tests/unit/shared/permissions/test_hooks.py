"""The bodies of hooks and their answers: nothing a hook sends widens what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from shared.bus.channels import Outcome, PermissionDecision
from shared.permissions.hook_fields import links_of
from shared.permissions.hooks import (
    NO_DECISION,
    HookSender,
    ended_asker,
    hook_answer,
    read_notice,
    read_permission_hook,
    reported_links,
)
from shared.permissions.rules import Rule, judge
from shared.runtime.errors import ClientError

ALICE = HookSender("alice", "claude", "laptop")
# As Claude Code 2.1.330 sends it.
CLAUDE = {
    "session_id": "32174055",
    "transcript_path": "/u/.claude/projects/w/32174055.jsonl",
    "cwd": "/u/w",
    "prompt_id": "b23694c7",
    "permission_mode": "default",
    "effort": {"level": "medium"},
    "hook_event_name": "PermissionRequest",
    "tool_name": "Bash",
    "tool_input": {"command": "touch made.txt", "description": "make it"},
    "permission_suggestions": [
        {"type": "addDirectories", "directories": ["/u/w"], "destination": "session"},
        {"type": "setMode", "mode": "acceptEdits", "destination": "localSettings"},
    ],
}
# As Codex 0.169 sends it.
CODEX = {
    "session_id": "01a227d1",
    "turn_id": "01a227d1-6680",
    "transcript_path": None,
    "cwd": "/u/w",
    "hook_event_name": "PermissionRequest",
    "model": "gpt-5.5",
    "permission_mode": "default",
    "tool_name": "Bash",
    "tool_input": {"command": "touch made.txt", "description": "need it"},
}


def read(tool: str, given: dict[str, Any], links: dict[str, str] | None = None) -> Any:
    body = CLAUDE | {"tool_name": tool, "tool_input": given}
    return read_permission_hook(body, ALICE, links or {})


def test_the_hook_of_claude_becomes_a_permission_request() -> None:
    request = read_permission_hook(CLAUDE, ALICE, {})
    assert (request.program, request.machine, request.caller) == ("Claude Code", "laptop", "alice")
    assert (request.tool_name, request.input) == ("Bash", CLAUDE["tool_input"])
    assert (request.asks_itself, request.insists, request.fixed_input) == (True, True, False)
    assert not request.bypass


def test_the_hook_of_codex_takes_no_changed_input() -> None:
    request = read_permission_hook(CODEX, HookSender("alice"), {})
    assert (request.program, request.fixed_input) == ("Codex", True)


def test_an_input_that_is_no_object_is_shown_all_the_same() -> None:
    assert read_permission_hook(CODEX | {"tool_input": "x"}, ALICE, {}).input == {"input": "x"}


@pytest.mark.parametrize("name", ["bypass", "refused", "timeout_seconds", "request_id", "caller"])
def test_a_field_of_ours_in_the_body_means_nothing(name: str) -> None:
    plain = read_permission_hook(CLAUDE, ALICE, {})
    forged = read_permission_hook(CLAUDE | {name: "owner"}, ALICE, {})
    if name == "request_id":
        assert forged.request_id not in {"owner", plain.request_id}
    else:
        assert getattr(forged, name) == getattr(plain, name)


@pytest.mark.parametrize("outcome", get_args(Outcome))
def test_only_an_allowed_request_is_allowed_and_only_a_denied_one_denied(outcome: Any) -> None:
    answer = hook_answer(PermissionDecision("r", outcome, "why"), {})
    behavior = answer.get("hookSpecificOutput", {}).get("decision", {}).get("behavior", "none")
    assert behavior == {"allowed": "allow", "denied": "deny"}.get(outcome, "none")


def test_an_answer_carries_nothing_but_the_decision() -> None:
    asked = {"command": "a"}
    same = hook_answer(PermissionDecision("r", "allowed", updated_input=dict(asked)), asked)
    assert same["hookSpecificOutput"]["decision"] == {"behavior": "allow"}
    changed = hook_answer(PermissionDecision("r", "allowed", updated_input={"command": "b"}), asked)
    assert changed["hookSpecificOutput"]["decision"] == {
        "behavior": "allow",
        "updatedInput": {"command": "b"},
    }
    assert hook_answer(PermissionDecision("r", "expired"), asked) is NO_DECISION


UNDER_WORK = Rule(tool="Read", under="/u/w")


def test_a_path_is_judged_as_the_machine_of_the_tool_reported_it(tmp_path: Path) -> None:
    """A link of this machine says nothing about another machine."""
    link = tmp_path / "link"
    link.symlink_to("/etc")
    given = {"file_path": str(link / "x")}
    rule = Rule(tool="Read", under=str(tmp_path))
    assert judge(read("Read", given), [rule]).outcome == "allow"
    reported = links_of("Read", given, str(tmp_path))
    assert reported == {str(link / "x"): "/etc/x"}
    assert judge(read("Read", given, reported), [rule]).outcome == "ask"


@pytest.mark.parametrize(
    ("path", "links"),
    [("/etc/passwd", {"/etc/passwd": "/u/w/x"}), ("/etc/passwd", {"/u/w/x": "/u/w/x"})],
)
def test_reported_links_open_no_path(path: str, links: dict[str, str]) -> None:
    request = read("Read", {"file_path": path}, links)
    assert judge(request, [UNDER_WORK]).outcome == "ask"


def test_a_reported_link_counts_for_a_deny_rule() -> None:
    deny = Rule(effect="deny", tool="Read", under="/secret")
    request = read("Read", {"file_path": "/u/w/x"}, {"/u/w/x": "/secret/x"})
    assert judge(request, [UNDER_WORK, deny]).outcome == "deny"


@pytest.mark.parametrize(
    "added",
    [{"links": []}, {"links": {"/a": 5}}, {"links": dict.fromkeys(map(str, range(99)), "/")}],
)
def test_unreadable_links_are_refused(added: Any) -> None:
    with pytest.raises(ClientError, match=r"ccproxy\.links"):
        reported_links(CLAUDE | {"ccproxy": added})


def test_the_links_of_an_agent_alone_are_none() -> None:
    assert reported_links(CLAUDE) == {}


def test_news_carry_the_words_of_a_notification_alone() -> None:
    waits = read_notice(
        {"hook_event_name": "Notification", "message": "m" * 500, "cwd": "/u/w"}, ALICE
    )
    assert waits is not None
    assert (waits.kind, waits.text, waits.folder) == ("waits", "m" * 200, "/u/w")
    done = read_notice({"hook_event_name": "Stop", "message": "secret"}, ALICE)
    assert done is not None
    assert (done.kind, done.text) == ("done", "")
    assert read_notice(CLAUDE, ALICE) is None


def test_only_the_end_of_a_tool_or_a_turn_ends_an_asker() -> None:
    asker = read_permission_hook(CLAUDE, ALICE, {}).asker
    ends = {"session_id": "32174055", "hook_event_name": "PostToolBatch"}
    assert ended_asker(ends, "alice") == asker
    assert ended_asker(ends, "mallory") != asker
    assert ended_asker(ends | {"agent_id": "sub"}, "alice") != asker
    assert ended_asker(ends | {"hook_event_name": "Notification"}, "alice") == ""
    assert ended_asker({"hook_event_name": "Stop"}, "alice") == ""
