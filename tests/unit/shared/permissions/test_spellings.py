"""The rules hold for every spelling in spellings.toml, and no decoration of a call ever
opens more.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus.channels import PermissionRequest
from shared.permissions.reach import reach_of
from shared.permissions.rules import Rule, judge, read_rule

TABLE = tomllib.loads(Path(__file__).with_name("spellings.toml").read_text())
FOLDER = "/srv/dir"


def attempts() -> Iterator[Any]:
    """Each row as its rules, the tool, the input and the expected outcome."""
    for group in TABLE["group"]:
        rules = [read_rule(shape) for shape in group["rules"]]
        rows = [(row[0], group["tool"], {group["field"]: row[1]}) for row in group.get("rows", [])]
        for expected, tool, fields in rows + [tuple(call) for call in group.get("calls", [])]:
            yield pytest.param(
                rules, tool, fields, expected, id=f"{group['about']}-{tool}-{fields!a}"
            )


def outcome(rules: list[Rule], tool: str, fields: dict[str, Any], *, resolved: bool = False) -> str:
    request = PermissionRequest("p1", tool, fields, working_directory=FOLDER)
    if resolved:
        request.reach = reach_of(tool, fields, FOLDER)
    return judge(request, rules).outcome


@pytest.mark.parametrize(("rules", "tool", "fields", "expected"), list(attempts()))
def test_a_rule_holds_for_every_spelling(
    rules: list[Rule], tool: str, fields: dict[str, Any], expected: str
) -> None:
    assert outcome(rules, tool, fields) == expected
    assert outcome(rules, tool, fields, resolved=True) == expected


def test_the_table_is_large() -> None:
    assert len(list(attempts())) >= 300


ORDER = {"deny": 0, "ask": 1, "allow": 2}
COMMANDS = [
    read_rule({"tool": "Bash", "command_prefix": prefix}) for prefix in ("git status", "ls", "echo")
]
DENIALS = [
    read_rule({"tool": "Bash", "effect": "deny", "command_prefix": prefix})
    for prefix in ("rm", "git push")
]
PIECES = [
    "git",
    "status",
    "push",
    "ls",
    "echo",
    "rm",
    "x",
    "-rf",
    "a/b",
    " ",
    "\t",
    "'",
    '"',
    "\\",
    "*",
    "$x",
    "`",
]
PIECES += [
    ";",
    "&&",
    "|",
    "\n",
    "(",
    ")",
    ">",
    "<",
    "#",
    "{",
    "}",
    "=",
    "~",
    "!",
    "\u00a0",
    "\u202e",
]
command_lines = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)


@given(
    command=command_lines,
    before=st.sampled_from(
        ["", " ", "X=1 ", "sudo ", "! ", "(", "{ ", "$(", "`", "<x ", "\n", "if "]
    ),
    after=st.sampled_from(
        [";", " ; ", "&", " && x", "|x", "\n", "\nx", ")", " >x", " <x", " $x", "`x`"]
    ),
)
def test_an_operator_never_turns_a_command_into_an_allowed_one(
    command: str, before: str, after: str
) -> None:
    assert outcome(COMMANDS, "Bash", {"command": before + command + after}) == "ask"


@given(command=command_lines, blank=st.sampled_from([" ", "  ", "\t", " \t "]))
def test_white_space_around_a_command_never_changes_the_answer_to_a_wider_one(
    command: str, blank: str
) -> None:
    rules = [*COMMANDS, *DENIALS]
    plain = outcome(rules, "Bash", {"command": command})
    assert ORDER[outcome(rules, "Bash", {"command": blank + command})] <= ORDER[plain]
    # White space after an escape makes another word of it, so only the front is compared for these.
    if not command.endswith("\\"):
        assert ORDER[outcome(rules, "Bash", {"command": command + blank})] <= ORDER[plain]


@given(
    words=st.lists(
        st.sampled_from(["rm", "git", "push", "status", "x", "-f"]), min_size=1, max_size=4
    )
)
def test_quotes_never_turn_a_denied_command_into_an_allowed_one(words: list[str]) -> None:
    rules = [read_rule({"tool": "Bash"}), *DENIALS]
    plain = outcome(rules, "Bash", {"command": " ".join(words)})
    for quote in ("'{}'", '"{}"', "\\{}", "''{}", '{}""'):
        quoted = " ".join(quote.format(word) for word in words)
        assert ORDER[outcome(rules, "Bash", {"command": quoted})] <= ORDER[plain], quoted


@given(
    path=st.text(alphabet="ab/. ~%$\\\u00a0\u200b\n", max_size=20),
    before=st.sampled_from(["", " ", "~", "/", "\t", "%2e", "$HOME", "../", "file://"]),
)
def test_an_allowed_path_always_lies_in_the_folder(path: str, before: str) -> None:
    rules = [read_rule({"tool": "Read", "under": FOLDER})]
    if outcome(rules, "Read", {"file_path": before + path}) == "allow":
        assert ".." not in (before + path).split("/")
        joined = before + path if (before + path).startswith("/") else f"{FOLDER}/{before}{path}"
        assert Path(joined).is_relative_to(FOLDER)


@given(url=st.text(alphabet="evil.com:/@\\%#?0x127 \t\u3002\uff45[]", max_size=20))
def test_an_allowed_address_names_exactly_its_host(url: str) -> None:
    rules = [read_rule({"tool": "WebFetch", "host": "evil.com"})]
    if outcome(rules, "WebFetch", {"url": f"http://{url}"}) == "allow":
        host = url.partition("/")[0].partition("?")[0].partition("#")[0].partition(":")[0]
        assert host.removesuffix(".") == "evil.com"
