"""A command line is read in linear time, and is simple only when a shell runs one program with its
words.
"""

from __future__ import annotations

import shlex
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.permissions.commands import (
    ANY_LETTER,
    ANY_TEXT,
    LONGEST_SIMPLE_COMMAND,
    UNKNOWN,
    is_other_git_command,
    may_run,
    named_files,
    program_of,
    read_command,
    simple_command,
)


@pytest.mark.parametrize(
    "command",
    [
        "git status; rm -rf /",
        "git status && rm x",
        "git status || rm x",
        "git status | sh",
        "git status |& sh",
        "git status & rm x",
        "git status\nrm x",
        "git status\rrm x",
        "git status \\\nrm",
        "git status > x",
        "git status 2>x",
        "git status < x",
        "git status << x",
        "git status <<< x",
        "git status $(rm x)",
        "git status `rm x`",
        "git status $HOME",
        "git status ${IFS}x",
        "git status $'x'",
        'git status "$(rm x)"',
        "git status <(rm x)",
        "git status 'a;b'",
        "(git status)",
        "GIT_DIR=x git status",
        "git status 'unclosed",
        'git status "unclosed',
        "git status unclosed\\",
        "!git status",
        "{ git status",
        "g?t status",
        "g[i]t status",
        "~/git status",
        "# git status",
        "git status # and more",
        "git\0status",
        "git\x0bstatus",
        "git\u00a0status",
        "git\u2028status",
        "git \u202estatus",
        "git \u200bstatus",
        "git \u3164status",
        "git \ufdd0status",
        "if git status",
        "time git status",
        "coproc git status",
        "'' git status",
        "",
        "   ",
    ],
)
def test_a_command_that_does_more_than_run_one_program_is_not_simple(command: str) -> None:
    assert simple_command(command) is None


def test_a_long_command_is_not_simple() -> None:
    assert simple_command("x" * LONGEST_SIMPLE_COMMAND) is not None
    assert simple_command("x" * (LONGEST_SIMPLE_COMMAND + 1)) is None


@given(st.text(alphabet="ab \t\"'\\-/.", max_size=40))
@example("\\")
@example('"\\a\\""')
def test_the_words_of_a_simple_command_are_those_shlex_finds(text: str) -> None:
    words = simple_command(text)
    try:
        expected = shlex.split(text)
    except ValueError:
        expected = []
    if words is not None:
        assert words == expected
    else:
        assert not expected or expected[0] == ""


def counted_steps(line: str) -> int:
    """How many lines of code run while a command line is read."""
    steps = 0

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        read_command(line)
    finally:
        sys.settrace(before)
    return steps


@pytest.mark.parametrize(
    "unit",
    ["x", "'x'", '"', "$(", "`", "[", "{a,", "]", "${x}", "\\", "x ", ";", "<", "${", "'", '"$('],
)
def test_reading_takes_steps_in_proportion_to_the_length(unit: str) -> None:
    short, long = counted_steps(unit * 200), counted_steps(unit * 800)
    assert long <= 4.2 * short + 50


def test_a_word_of_a_megabyte_is_read_as_one_word() -> None:
    assert read_command("x" * 1_000_000).words == ["x" * 1_000_000]


@pytest.mark.parametrize(
    ("line", "patterns"),
    [
        ("cat a*b ?c [de]f", ["cat", f"a{ANY_TEXT}b", f"{ANY_LETTER}c", f"{ANY_LETTER}f"]),
        ("cat '*' \"?\" \\*", ["cat", "*", "?", "*"]),
        ("cat [x {y", ["cat", "[x", "{y"]),
        ("cat {a,b}.txt", ["cat", f"{UNKNOWN}.txt"]),
        ("cat $HOME/x ${HOME}/y $OTHER", ["cat", "/me/x", "/me/y", UNKNOWN]),
        ('cat "$HOME"/x', ["cat", "/me/x"]),
        ("cat '$HOME'", ["cat", "$HOME"]),
        ("cat $'\\x2e'env", ["cat", f"{UNKNOWN}env"]),
        ("a $(b c) d", ["a", UNKNOWN, "b", "c", "d"]),
        ('a "$(b c)" d', ["a", UNKNOWN, "b", "c", "d"]),
        ("a `b c` d", ["a", UNKNOWN, "b", "c", "d"]),
        ("a;b&&c|d", ["a", "b", "c", "d"]),
        ("a # b\nc", ["a", "c"]),
        ("a$", ["a$"]),
    ],
)
def test_what_only_the_shell_knows_is_marked(line: str, patterns: list[str]) -> None:
    read = read_command(line, {"HOME": "/me"})
    assert [word.pattern for command in read.commands for word in command] == patterns


def test_the_files_of_redirections_are_marked() -> None:
    (words,) = read_command("a <b >c 2>>d e").commands
    assert [(word.text, word.redirect) for word in words] == [
        ("a", ""),
        ("b", "<"),
        ("c", ">"),
        ("2", ""),
        ("d", ">"),
        ("e", ""),
    ]


@pytest.mark.parametrize(
    ("word", "program"),
    [
        ("/usr/bin/python3.12", "python"),
        ("Bash", "bash"),
        ("./x", "x"),
        ("7z", "7z"),
        (".", "."),
        ("md5sum", "md5sum"),
    ],
)
def test_a_program_is_known_by_its_name_alone(word: str, program: str) -> None:
    assert program_of(word) == program


@pytest.mark.parametrize(
    "command",
    [
        "/bin/rm x",
        "sudo rm x",
        "xargs -n1 rm",
        "find . -exec rm {} +",
        "sh x.sh",
        "env x",
        "RM x",
        "bash -c x",
    ],
)
def test_a_program_may_be_run_by_way_of_another(command: str) -> None:
    assert may_run(command.split(), "rm")


@pytest.mark.parametrize("command", ["ls farm", "ls rm-old", "cat form"])
def test_a_name_within_another_word_runs_nothing(command: str) -> None:
    assert not may_run(command.split(), "rm")


@pytest.mark.parametrize(
    ("command", "certain"),
    [
        ("git status -s", True),
        ("git log --oneline", True),
        ("git push", False),
        ("git p", False),
        ("git -C x status", False),
        ("git rebase --exec 'git push'", False),
        ("git submodule foreach 'git push'", False),
        ("hub status", False),
    ],
)
def test_a_builtin_git_command_is_certainly_another_one(command: str, certain: bool) -> None:
    assert is_other_git_command(shlex.split(command), ["git", "push"]) is certain


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("cat a b", (["a", "b"], False)),
        ("touch a", (["a"], True)),
        ("ls", (["."], False)),
        ("ls -la /x", (["a", "/x"], False)),
        ("head -n5 -- -x", (["5", "-x"], False)),
        ("cat -", ([], False)),
        ("ls -laR", None),
        ("wc --files0-from=x", None),
        ("/bin/cat a", None),
        ("python3 a", None),
    ],
)
def test_the_files_of_known_programs_are_named(
    command: str, found: tuple[list[str], bool] | None
) -> None:
    assert named_files(command.split()) == found
