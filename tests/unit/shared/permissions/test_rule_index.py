"""The index of rules leaves out only rules that would say nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.channels import PermissionRequest
from shared.permissions.reach import Reach, ReachedPath
from shared.permissions.rule_index import RuleIndex
from shared.permissions.rules import Rule, judge

COMMANDS = [
    "git status",
    "git push",
    "ls",
    "rm -r x",
    "sudo rm x",
    "git status && ls",
    " git  status",
]
PREFIXES = ["git", "git status", "ls", "rm", "'git' status"]
FOLDERS = ["/", "/srv", "/srv/a", "/srv/a/", "/srv/A", "/srv/ab"]
PATHS = ["/srv/a", "/srv/a/b.py", "/srv/ab", "/srv", "/etc/passwd", "b.py", "../x"]
HOSTS = ["example.org", "a.example.org", "*.example.org", "Example.org.", "localhost", "127.0.0.1"]
TOOLS = [
    "Bash",
    "Write",
    "Read",
    "WebFetch",
    "mcp__a__b",
    "mcp__a__*",
    "mcp__*",
    "*",
    "B*",
    "AskUserQuestion",
]


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    fields = {"effect": draw(st.sampled_from(["allow", "allow", "ask", "deny"])),
              "tool": draw(st.sampled_from(TOOLS))}  # fmt: skip
    for name, values in (
        ("command", COMMANDS[:4]),
        ("command_prefix", PREFIXES),
        ("under", FOLDERS),
        ("host", HOSTS),
        ("working_folder", ["/srv", "/srv/a"]),
    ):
        if draw(st.integers(0, 3)) == 0:
            fields[name] = draw(st.sampled_from(values))
    fields["scope"] = draw(st.sampled_from(["always", "caller", "session"]))
    if fields["scope"] != "always":
        fields["caller"] = draw(st.sampled_from(["alice", "bob", ""]))
    if fields["scope"] == "session":
        fields["session_id"] = draw(st.sampled_from(["s1", "s2"]))
    return Rule(**fields)


@st.composite
def requests(draw: st.DrawFn) -> PermissionRequest:
    tool = draw(st.sampled_from([tool for tool in TOOLS if "*" not in tool]))
    url = f"https://{draw(st.sampled_from(['example.org', 'a.example.org', 'localhost']))}/x"
    fields = {
        "Bash": {"command": draw(st.sampled_from(COMMANDS))},
        "WebFetch": {"url": url, "prompt": "?"},
    }
    given = fields.get(tool, {"file_path": draw(st.sampled_from(PATHS))})
    reach = None
    if draw(st.booleans()):
        asked = draw(st.sampled_from(PATHS[:5]))
        paths = [ReachedPath(asked, draw(st.sampled_from(["", asked, "/srv/a/real.py"])))]
        reach = Reach(
            paths=draw(st.sampled_from([[], paths, [*paths, ReachedPath("/srv/a/c.py")]])),
            hosts=draw(st.sampled_from([[], ["example.org"], ["localhost", "example.org"]])),
            complete=draw(st.booleans()),
            elsewhere=draw(st.booleans()),
        )
    return PermissionRequest(
        "p1", tool, given,
        caller=draw(st.sampled_from(["alice", "bob", ""])),
        session_id=draw(st.sampled_from(["s1", "s2", ""])),
        working_directory="/srv/a", reach=reach,
    )  # fmt: skip


@given(st.lists(rules(), max_size=12), requests())
def test_the_verdict_by_the_index_is_the_verdict_by_all_rules(
    known: list[Rule], request: PermissionRequest
) -> None:
    assert judge(request, RuleIndex(known).concerning(request)) == judge(request, known)


def test_an_allow_rule_of_another_program_folder_host_or_owner_is_left_out() -> None:
    index = RuleIndex(
        [
            Rule(tool="Bash", command_prefix="git status"),
            Rule(tool="Bash", command_prefix="ls"),
            Rule(tool="Bash", scope="caller", caller="bob"),
            Rule(effect="deny", tool="Bash", command_prefix="rm"),
        ]
    )
    ask = PermissionRequest("p1", "Bash", {"command": "git status -s"}, caller="alice")
    assert index.concerning(ask) == [index.rules[0], index.rules[3]]
    write = RuleIndex([Rule(tool="Write", under=folder) for folder in ("/srv/a", "/srv/b", "/")])
    ask = PermissionRequest("p1", "Write", {"file_path": "/srv/a/x/y.py", "content": ""})
    assert write.concerning(ask) == [write.rules[0], write.rules[2]]
    fetch = RuleIndex([Rule(tool="WebFetch", host=host) for host in HOSTS[:3]])
    ask = PermissionRequest("p1", "WebFetch", {"url": "https://example.org/", "prompt": ""})
    assert fetch.concerning(ask) == [fetch.rules[0], fetch.rules[2]]


@pytest.mark.parametrize("real", ["", "/target/file"])
def test_a_folder_rule_is_found_through_links(tmp_path: Path, real: str) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    rule = Rule(tool="Write", under=str(tmp_path / "link"))
    asked = str(tmp_path / "link/file")
    path = ReachedPath(asked, f"{tmp_path}{real}" if real else "")
    ask = PermissionRequest("p1", "Write", {}, reach=Reach(paths=[path], complete=True))
    index = RuleIndex([rule])
    assert judge(ask, index.concerning(ask)) == judge(ask, [rule])
    assert judge(ask, [rule]).outcome == "allow"
