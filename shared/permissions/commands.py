"""Command lines as a shell reads them: their words, and whether a line runs one program and does
nothing else.

Reading is linear: every character is looked at a fixed number of times. Nothing is expanded or run.
A part of a word that only the shell can know (`$X`, `$(…)`, a brace list) becomes UNKNOWN;
wildcards become ANY_TEXT and ANY_LETTER. In doubt a line is not simple, and no allow rule covers a
line that is not simple.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.permissions.programs import (
    FILE_READING_PROGRAMS,
    FILE_WRITING_PROGRAMS,
    GIT_SUBCOMMANDS,
    KEYWORDS,
    SHELLS,
    WORKING_FOLDER_PROGRAMS,
)

# A longer command is never simple: no rule allows a text that nobody could have read when the rule
# was made.
LONGEST_SIMPLE_COMMAND = 4096  # characters
# Characters Unicode will never assign; a command that holds one of them is not understood.
UNKNOWN = "\ufdd0"
ANY_TEXT = "\ufdd1"
ANY_LETTER = "\ufdd2"
WILDCARDS = frozenset((UNKNOWN, ANY_TEXT, ANY_LETTER))
# Syntax that makes a shell do more than run one program with these words: operators, substitutions,
# more lines. Such a character counts inside quotes too. White space and invisible characters beyond
# ASCII are in it, because shells and people split words at different ones.
SHELL_SYNTAX = re.compile(
    r"[;&|<>()`$\n\r\x00-\x08\x0b-\x1f\x7f-\xa0\u00ad\u061c\u115f\u1160\u1680\u180e"
    r"\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff9-\ufffb\ufdd0-\ufdef\U000e0000-\U000e0fff]"
)
# In the first word these are expanded into other words, or make an assignment or a comment of it.
FIRST_WORD_SYNTAX = frozenset("*?[]{}~!#=")

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]")


@dataclass(slots=True)
class Word:
    """A word of a command line.

    `text` is the word without its quotes, `pattern` has UNKNOWN and wildcards in place of
    expansions. `redirect` is `<` or `>` when the word is the file of a redirection.
    """

    text: str
    pattern: str
    redirect: str = ""


@dataclass(slots=True)
class CommandLine:
    """The commands of a line, each a list of words. `plain` is True for a single simple command."""

    commands: list[list[Word]] = field(default_factory=list)
    plain: bool = True

    @property
    def words(self) -> list[str]:
        """The words of all commands, without quotes."""
        return [word.text for command in self.commands for word in command]


class _Reader:
    """Reads a command line from left to right. `_inside` holds the open quotes and
    substitutions.
    """

    def __init__(self, line: str, variables: Mapping[str, str]) -> None:
        self._line = line
        self._variables = variables
        self._at = 0
        self._found = CommandLine()
        self._command: list[Word] = []
        self._text: list[str] | None = None  # None between words
        self._pattern: list[str] = []
        self._redirect = ""
        self._inside: list[str] = []
        self._open_bracket: int | None = (
            None  # where in `_pattern` a bracket or brace expression began
        )
        self._open_brace: int | None = None

    def read(self) -> CommandLine:
        """Return the whole line. An unclosed quote ends with the line, and the line is then not
        plain.
        """
        # The line holds one of our own marks, and could pass off any text as a wildcard.
        if not WILDCARDS.isdisjoint(self._line):
            self._found.plain = False
        while self._at < len(self._line):
            letter = self._line[self._at]
            self._at += 1
            # The innermost open thing decides how a letter is read: inside `"$(…)"` the
            # substitution, not the quotes around it.
            if self._inside and self._inside[-1] == '"':
                self._in_double_quotes(letter)
            else:
                self._unquoted(letter)
        if self._inside:
            self._found.plain = False
        self._end_command()
        return self._found

    def _unquoted(self, letter: str) -> None:
        if letter in " \t":
            self._end_word()
        elif letter == "\\":
            self._escaped()
        elif letter == "'":
            self._single_quoted(known=True)
        elif letter == '"':
            self._begin_word()
            self._inside.append('"')
        elif letter == "$":
            self._dollar()
        elif letter == "`":
            self._backtick()
        elif letter in "<>":
            self._end_word()
            self._found.plain = False
            # `<>` opens a file for both; the stricter reading counts.
            self._redirect = ">" if ">" in (letter, self._redirect) else "<"
        elif letter in ";&|()\n\r":
            self._operator(letter)
        # In the middle of a word a `#` is a letter.
        elif letter == "#" and self._text is None:
            self._comment()
        elif letter in "*?[]{}":
            self._wildcard(letter)
        else:
            self._add(letter)

    def _in_double_quotes(self, letter: str) -> None:
        if letter == '"':
            self._inside.pop()
        elif letter == "$":
            self._dollar()
        elif letter == "`":
            self._backtick()
        elif letter == "\\" and self._line[self._at : self._at + 1] in tuple('$`"\\\n'):
            self._escaped()
        else:
            self._add(letter)

    def _escaped(self) -> None:
        letter = self._line[self._at : self._at + 1]
        self._at += 1
        if letter == "\n":  # a continued line
            self._found.plain = False
        elif letter:
            self._add(letter)
        else:
            self._found.plain = False

    def _single_quoted(self, *, known: bool) -> None:
        """Read up to the closing quote. In `$'…'` the text has escapes of its own, and is not
        `known`.
        """
        end = self._line.find("'", self._at)
        if end < 0:
            self._found.plain = False
            end = len(self._line)
        if known:
            self._add(self._line[self._at : end])
        else:
            self._add_unknown()
        self._at = end + 1

    def _dollar(self) -> None:
        """Read the text after a `$`: a known value, or UNKNOWN. A substitution is read as further
        commands.
        """
        self._found.plain = False
        following = self._line[self._at : self._at + 1]
        # The word around the substitution ends here with an UNKNOWN in it. What is inside is read
        # as a command of its own, so its words are seen too.
        if following == "(":
            self._at += 1
            self._add_unknown()
            self._inside.append("(")
            self._end_command()
        elif following == "'" and self._inside[-1:] != ['"']:
            self._at += 1
            self._single_quoted(known=False)
        elif following == "{":
            end = self._line.find("}", self._at)
            end = len(self._line) if end < 0 else end
            self._variable(self._line[self._at + 1 : end])
            self._at = end + 1
        else:
            name = VARIABLE_NAME.match(self._line, self._at)
            if name is None:
                self._add("$")
                return
            self._at = name.end()
            self._variable(name.group())

    def _variable(self, name: str) -> None:
        value = self._variables.get(name)
        if value is None:
            self._add_unknown()
        else:
            self._add(value)

    def _backtick(self) -> None:
        self._found.plain = False
        if self._inside[-1:] == ["`"]:
            self._inside.pop()
            self._end_command()
        else:
            self._add_unknown()
            self._inside.append("`")
            self._end_command()

    def _operator(self, letter: str) -> None:
        self._found.plain = False
        self._end_command()
        if letter == ")" and self._inside[-1:] == ["("]:
            self._inside.pop()
        # A bracket inside a substitution is counted, so that its closing bracket does not end the
        # substitution.
        elif letter == "(" and self._inside:
            self._inside.append("(")

    def _comment(self) -> None:
        self._found.plain = False
        end = self._line.find("\n", self._at)
        self._at = len(self._line) if end < 0 else end

    def _wildcard(self, letter: str) -> None:
        """Add a wildcard of `*?[]{}`. A closed bracket stands for a single letter, a closed brace
        list for UNKNOWN.
        """
        self._begin_word()
        assert self._text is not None
        self._text.append(letter)
        if letter == "[" and self._open_bracket is None:
            self._open_bracket = len(self._pattern)
        elif letter == "{" and self._open_brace is None:
            self._open_brace = len(self._pattern)
        # What stood between the brackets is taken out of the pattern again: the whole stands for
        # one letter.
        if letter == "]" and self._open_bracket is not None:
            del self._pattern[self._open_bracket :]
            self._pattern.append(ANY_LETTER)
            self._open_bracket = None
        elif letter == "}" and self._open_brace is not None:
            del self._pattern[self._open_brace :]
            self._pattern.append(UNKNOWN)
            self._open_brace = None
        else:
            self._pattern.append({"*": ANY_TEXT, "?": ANY_LETTER}.get(letter, letter))

    def _begin_word(self) -> None:
        if self._text is None:
            self._text = []

    def _add(self, text: str) -> None:
        self._begin_word()
        assert self._text is not None
        self._text.append(text)
        self._pattern.append(text)

    def _add_unknown(self) -> None:
        self._begin_word()
        self._pattern.append(UNKNOWN)

    def _end_word(self) -> None:
        if self._text is None:
            return
        self._command.append(Word("".join(self._text), "".join(self._pattern), self._redirect))
        self._text = None
        self._pattern = []
        self._redirect = ""
        self._open_bracket = self._open_brace = None

    def _end_command(self) -> None:
        self._end_word()
        if self._command:
            self._found.commands.append(self._command)
        self._command = []
        self._redirect = ""


def read_command(line: str, variables: Mapping[str, str] | None = None) -> CommandLine:
    """Return the commands of a line, in linear time. `variables` are the only values `$NAME` is
    replaced by.
    """
    return _Reader(line, variables or {}).read()


def simple_command(text: str) -> list[str] | None:
    """Return the words of a command line for exactly one program; None for any other line.

    Quotes are understood, but an operator inside them counts as one all the same: in doubt a line
    is not simple.
    """
    # Before the line is read at all, and blind to quotes: a reader that misjudges a quote must not
    # turn an operator into text.
    if len(text) > LONGEST_SIMPLE_COMMAND or SHELL_SYNTAX.search(text):
        return None
    line = read_command(text)
    if not line.plain or not line.commands:
        return None
    words = line.words
    if not words[0] or words[0] in KEYWORDS or FIRST_WORD_SYNTAX & set(words[0]):
        return None
    return words


def program_of(word: str) -> str:
    """Return the name of the program that the first word of a command runs: `/usr/bin/python3.12`
    is `python`.
    """
    name = word.rsplit("/", 1)[-1].casefold()
    return re.sub(r"(?<=[a-z])[0-9.]+$", "", name)


def may_run(words: list[str], program: str) -> bool:
    """Return True when a simple command may run `program` by way of another one: `/bin/rm`, `sudo
    rm`, `sh -c …`.
    """
    if program_of(words[0]) in SHELLS | {"eval", "source", ".", "env"}:
        return True
    # Some other program may start it by a word anywhere in the line, so a mere mention is enough
    # for a `maybe`.
    text = " ".join(words).casefold()
    return re.search(rf"(?<![\w-]){re.escape(program.casefold())}(?![\w-])", text) is not None


def is_other_git_command(words: list[str], wanted: list[str]) -> bool:
    """Return True if `words` is a git command and certainly differs from the git
    command `wanted`.
    """
    both_known = len(words) > 1 and len(wanted) > 1 and {words[1], wanted[1]} <= GIT_SUBCOMMANDS
    if words[0] != "git" or wanted[0] != "git" or not both_known or words[1] == wanted[1]:
        return False
    rest = " ".join(words[2:])
    return not any(re.search(rf"(?<!\w){re.escape(name)}(?!\w)", rest) for name in wanted[:2])


def named_files(words: list[str]) -> tuple[list[str], bool] | None:
    """Return the files named by a simple command, and True if the program writes the files.

    None when the program is not one of those known to touch nothing but these files.
    """
    name = words[0]
    writes = name in FILE_WRITING_PROGRAMS
    letters = FILE_WRITING_PROGRAMS.get(name, FILE_READING_PROGRAMS.get(name))
    # An unknown program may open files that it does not name.
    if letters is None:
        return None
    files: list[str] = []
    options_may_follow = True
    for word in words[1:]:
        if word == "--":
            options_may_follow = False
        # The letters are those of options that name files in ways not followed here; with one of
        # them the list would not be complete.
        elif options_may_follow and word.startswith("-") and word != "-":
            # A long option may name a file in ways of its own (`--files0-from`).
            if word.startswith("--") or set(letters) & set(word):
                return None
            files.append(word[2:])  # `-n5`, or the file of `-rFILE`
        else:
            files.append(word)
    named = [file for file in files if file and file != "-"]
    if not named and name in WORKING_FOLDER_PROGRAMS:
        named = ["."]
    return named, writes
