"""An allow rule covers only what it certainly covers; in doubt a person is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shared.bus.channels import PermissionRequest
from shared.permissions.reach import Reach, ReachedPath, reach_of
from shared.permissions.rules import Rule, Verdict, judge, read_rule, rule_problems
from shared.runtime.errors import ClientError


def ask(tool: str = "Bash", /, **given: Any) -> PermissionRequest:
    return PermissionRequest(
        "p1", tool, given, caller="alice", session_id="s1", working_directory="/srv/dir"
    )


def rule(**fields: Any) -> Rule:
    return read_rule({"tool": "Bash", **fields})


@pytest.mark.parametrize(
    ("prefix", "command", "outcome"),
    [
        ("git status", "git status", "allow"),
        ("git status", "git  status   -s", "allow"),
        ("git status", "git 'status' --", "allow"),
        ("git status", "git statusx", "ask"),
        ("git status", "git push", "ask"),
        ("git status", "git -c x=y status", "ask"),
        ("git status", "sudo git status", "ask"),
        ("git", "gitx status", "ask"),
        ("git", "./git status", "ask"),
        ("ls", "ls *.py", "allow"),
        ("echo", "echo 'a b'", "allow"),
    ],
)
def test_a_prefix_covers_whole_words(prefix: str, command: str, outcome: str) -> None:
    assert judge(ask(command=command), [rule(command_prefix=prefix)]).outcome == outcome


def test_an_exact_command_is_that_command_only() -> None:
    exact = [rule(command="make test")]
    assert judge(ask(command=" make test "), exact).outcome == "allow"
    assert judge(ask(command="make test x"), exact).outcome == "ask"
    assert judge(ask(command="make  test"), exact).outcome == "ask"


def test_a_command_with_unusual_options_is_asked_about() -> None:
    assert (
        judge(
            ask(command="ls", dangerouslyDisableSandbox=True), [rule(command_prefix="ls")]
        ).outcome
        == "ask"
    )
    assert (
        judge(ask(command="ls", timeout=5, description="x"), [rule(command_prefix="ls")]).outcome
        == "allow"
    )


def test_a_command_rule_says_nothing_of_other_tools() -> None:
    assert judge(ask("Other", command="ls"), [rule(tool="*", command_prefix="ls")]).outcome == "ask"


@pytest.mark.parametrize("command", ["rm -rf x", "rm"])
def test_deny_beats_allow(command: str) -> None:
    verdict = judge(ask(command=command), [rule(), rule(effect="deny", command_prefix="rm")])
    assert verdict.outcome == "deny"


@pytest.mark.parametrize(
    "command", ["ls; rm x", "sudo rm x", "/bin/rm x", "sh -c 'rm x'", "r''m x; ls", "$(echo rm) x"]
)
def test_what_may_be_denied_is_asked_about_although_all_of_the_tool_is_allowed(
    command: str,
) -> None:
    verdict = judge(ask(command=command), [rule(), rule(effect="deny", command_prefix="rm")])
    assert verdict.outcome == "ask"
    assert verdict.rule is not None
    assert verdict.rule.effect == "deny"


def test_a_deny_rule_leaves_other_commands_alone() -> None:
    assert (
        judge(ask(command="ls farm"), [rule(), rule(effect="deny", command_prefix="rm")]).outcome
        == "allow"
    )


def test_a_tool_is_named_in_full_or_by_its_beginning() -> None:
    assert judge(ask("mcp__db__read"), [rule(tool="mcp__db__*")]).outcome == "allow"
    assert judge(ask("mcp__dbx__read"), [rule(tool="mcp__db__*")]).outcome == "ask"
    assert judge(ask("Readx"), [rule(tool="Read")]).outcome == "ask"


class TestUnderAFolder:
    """The paths as they are spelled, and as the machine that runs the tool resolves them."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        (tmp_path / "in").mkdir()
        (tmp_path / "out").mkdir()
        return tmp_path / "in"

    def outcome(
        self,
        folder: Path,
        path: str,
        tool: str = "Read",
        field: str = "file_path",
        *,
        effect: str = "allow",
    ) -> tuple[str, str]:
        """The answers for a request without a reach, and for one with the reach of this machine."""
        request = ask(tool, **{field: path})
        rules = [rule(tool="*", under=str(folder), effect=effect)]
        if effect == "deny":
            rules.append(rule(tool="*"))
        spelled = judge(request, rules).outcome
        request.reach = reach_of(tool, request.input, request.working_directory)
        return spelled, judge(request, rules).outcome

    def test_what_lies_in_it_is_covered_existing_or_not(self, folder: Path) -> None:
        assert self.outcome(folder, f"{folder}/deep/new.txt", "Write") == ("allow", "allow")
        assert self.outcome(folder, str(folder)) == ("allow", "allow")

    def test_what_only_begins_alike_is_not(self, folder: Path) -> None:
        assert self.outcome(folder, f"{folder}-side/x") == ("ask", "ask")

    def test_no_way_up(self, folder: Path) -> None:
        assert self.outcome(folder, f"{folder}/../out/x") == ("ask", "ask")
        assert self.outcome(folder, f"{folder}/../in/x") == ("ask", "ask")

    def test_a_link_does_not_lead_out(self, folder: Path) -> None:
        (folder / "link").symlink_to(folder.parent / "out")
        assert self.outcome(folder, f"{folder}/link/x") == ("ask", "ask")

    def test_a_link_into_a_denied_folder_is_denied(self, folder: Path) -> None:
        (folder.parent / "out" / "link").symlink_to(folder)
        assert self.outcome(folder, f"{folder.parent}/out/link/x", effect="deny") == (
            "deny",
            "deny",
        )
        (folder / "away").symlink_to(folder.parent / "out")
        assert self.outcome(folder, f"{folder}/away/x", effect="deny") == ("deny", "deny")

    def test_a_link_to_the_folder_is_the_folder_where_the_links_are_known(
        self, folder: Path
    ) -> None:
        (folder.parent / "alias").symlink_to(folder)
        assert self.outcome(folder.parent / "alias", f"{folder.parent}/alias/x") == (
            "allow",
            "allow",
        )
        assert self.outcome(folder.parent / "alias", f"{folder}/x") == ("ask", "allow")
        assert self.outcome(folder, f"{folder.parent}/alias/x") == ("ask", "allow")

    def test_the_links_of_another_machine_decide_over_the_links_of_this_one(
        self, folder: Path
    ) -> None:
        request = ask("Write", file_path="/data/workspace/link/x")
        request.reach = Reach(
            [ReachedPath("/data/workspace/link/x", "/tmp/x", writes=True)], complete=True
        )
        assert judge(request, [rule(tool="Write", under="/data")]).outcome == "ask"
        assert judge(request, [rule(tool="Write", under="/tmp")]).outcome == "allow"
        both = [rule(tool="Write"), rule(tool="Write", effect="deny", under="/data/workspace")]
        assert judge(request, both).outcome == "deny"

    def test_a_folder_this_machine_does_not_have_covers_real_paths(self, folder: Path) -> None:
        assert self.outcome(folder / "missing", f"{folder}/missing/x") == ("allow", "allow")
        notes = rule_problems(
            [rule(tool="Read", under=f"{folder}/missing"), rule(tool="Read", under=str(folder))]
        )
        assert len(notes) == 1
        assert "not on this machine" in notes[0]

    def test_a_folder_replaced_by_a_link_does_not_widen_the_rule(self, folder: Path) -> None:
        assert self.outcome(folder, f"{folder}/x") == ("allow", "allow")
        folder.rmdir()
        folder.symlink_to(folder.parent / "out")
        assert self.outcome(folder, f"{folder}/x") == ("ask", "ask")

    def test_a_relative_path_starts_where_the_session_works(self, folder: Path) -> None:
        request = PermissionRequest("p", "Read", {"file_path": "x"}, working_directory=str(folder))
        assert judge(request, [rule(tool="Read", under=str(folder))]).outcome == "allow"
        request.working_directory = ""
        assert judge(request, [rule(tool="Read", under=str(folder))]).outcome == "ask"

    def test_a_folder_tool_is_covered_when_its_patterns_stay_below(self, folder: Path) -> None:
        assert self.outcome(folder, str(folder), "LS", "path") == ("allow", "allow")
        rules = [rule(tool="Glob", under=str(folder))]
        inside = ask("Glob", path=str(folder), pattern="**/*.py")
        assert judge(inside, rules).outcome == "allow"
        for pattern in ("../out/*", "/etc/*", "~/*", "{/etc,x}/*", 7, ""):
            assert judge(ask("Glob", path=str(folder), pattern=pattern), rules).outcome == "ask"

    def test_a_command_is_covered_when_it_touches_only_the_files_it_names(
        self, folder: Path
    ) -> None:
        rules = [rule(tool="*", under=str(folder))]
        assert judge(ask(command=f"cat {folder}/x"), rules).outcome == "allow"
        for command in (
            f"cat {folder}/x /etc/passwd",
            f"cat {folder}/../x",
            f"cat {folder}/*",
            f"cat {folder}/x; ls",
            f"wc --files0-from {folder}/x",
            f"ls -R {folder}",
            f"python3 {folder}/x",
            "cat x",
        ):
            assert judge(ask(command=command), rules).outcome == "ask", command


@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        ("https://example.com/x", "allow"),
        ("http://EXAMPLE.com.:8080", "allow"),
        ("https://docs.example.org", "allow"),
        ("https://example.org", "ask"),
        ("https://example.com.evil.net", "ask"),
        ("https://example.com@evil.net/", "ask"),
        ("https://evil.net\\@example.com", "ask"),
        ("https://evil.net\n@example.com", "ask"),
        ("file://example.com/etc/passwd", "ask"),
        ("https://[::1", "ask"),
        (7, "ask"),
    ],
)
def test_a_host_is_read_one_way_or_not_at_all(url: Any, outcome: str) -> None:
    rules = [rule(tool="WebFetch", host="example.com"), rule(tool="WebFetch", host="*.example.org")]
    assert judge(ask("WebFetch", url=url), rules).outcome == outcome


def test_a_rule_is_for_its_session_and_caller_only() -> None:
    session = [rule(scope="session", caller="alice", session_id="s1")]
    caller = [rule(scope="caller", caller="alice")]
    assert judge(ask(command="x"), session).outcome == "allow"
    assert judge(ask(command="x"), caller).outcome == "allow"
    other = ask(command="x")
    other.session_id = "s2"
    assert judge(other, session).outcome == "ask"
    assert judge(other, caller).outcome == "allow"
    other.caller, other.session_id = "mallory", "s1"
    assert judge(other, session + caller).outcome == "ask"


def test_a_question_is_for_a_person_whatever_the_rules_say() -> None:
    assert judge(ask("AskUserQuestion", questions=[]), [rule(tool="*")]).outcome == "ask"
    assert (
        judge(ask("AskUserQuestion", questions=[]), [rule(tool="*", effect="deny")]).outcome
        == "deny"
    )


def test_an_ask_rule_keeps_what_it_may_cover_for_a_person() -> None:
    allow = rule(command_prefix="git")
    ask_first = rule(command_prefix="git push", effect="ask")
    deny = rule(command_prefix="git push --force", effect="deny")
    assert judge(ask(command="git status"), [allow, ask_first]).outcome == "allow"
    assert judge(ask(command="git push"), [allow, ask_first]) == Verdict("ask", ask_first)
    assert judge(ask(command="git push --force"), [ask_first, deny]).outcome == "deny"
    # Another program may run it.
    assert judge(ask(command="sh -c 'git push'"), [rule(), ask_first]).rule == ask_first
    assert ask_first.describe() == "ask a person about Bash: git push …"


@pytest.mark.parametrize(
    ("folder", "effect", "outcome"),
    [
        ("/srv", "allow", "allow"),
        ("/srv/dir", "allow", "allow"),
        ("/srv/dir/below", "allow", "ask"),
        ("/srv/di", "allow", "ask"),
        ("/srv", "deny", "deny"),
        ("/other", "deny", "ask"),
    ],
)
def test_a_rule_of_a_project_is_for_agents_that_work_there(
    folder: str, effect: str, outcome: str
) -> None:
    bound = rule(working_folder=folder, effect=effect)
    assert judge(ask(command="make"), [bound]).outcome == outcome


def test_an_agent_whose_working_folder_is_unknown_gets_no_allow_and_perhaps_a_deny() -> None:
    homeless = PermissionRequest("p1", "Bash", {"command": "make"})
    assert judge(homeless, [rule(working_folder="/srv")]) == Verdict("ask", None)
    denied = rule(working_folder="/srv", effect="deny")
    assert judge(homeless, [rule(), denied]) == Verdict("ask", denied)


def test_a_link_on_this_machine_widens_no_allow_rule_for_a_call_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    target = ReachedPath(f"{tmp_path}/real/a", f"{tmp_path}/real/a")
    for elsewhere, outcome in ((False, "allow"), (True, "ask")):
        call = ask("Read")
        call.reach = Reach([target], complete=True, elsewhere=elsewhere)
        assert judge(call, [rule(tool="Read", under=f"{tmp_path}/link")]).outcome == outcome
    # A deny rule still covers both.
    denied = rule(tool="Read", under=f"{tmp_path}/link", effect="deny")
    assert judge(call, [denied]).outcome == "deny"


def test_the_id_and_the_words_of_a_rule_name_its_profile() -> None:
    named = rule(command="make", profile="night")
    assert named.id.startswith("night:rule_")
    assert named.describe() == "allow Bash: exactly make, in the profile night"
    with pytest.raises(ClientError, match="every session"):
        rule(profile="night", scope="caller", caller="a")


@pytest.mark.parametrize("field", ["tool", "command", "under", "caller"])
def test_a_rule_with_half_of_a_surrogate_pair_is_refused(field: str) -> None:
    with pytest.raises(ClientError):
        rule(**{field: "/a\ud83d"})
