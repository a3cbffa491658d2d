"""The paths a tool call names, in every spelling: what `protected.py` compares with its list.

`reach.py` lists only what a call certainly touches; a mention is whatever a program could take for
a path. Spellings are followed as a shell or a tool may expand them: home folders, quotes,
wildcards, `--file=x`, `@x`, `host:x`, `%2e`.

Invariant: a call may touch a path that no mention covers only when `unclear` says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from shared.bus.channels import PermissionRequest
from shared.permissions.commands import (
    ANY_LETTER,
    ANY_TEXT,
    LONGEST_SIMPLE_COMMAND,
    UNKNOWN,
    WILDCARDS,
    Word,
    program_of,
    read_command,
)
from shared.permissions.patches import PATCH_TOOL, patched_files
from shared.permissions.paths import normalised
from shared.permissions.programs import (
    FOLDER_WALKERS,
    HARMLESS_PROGRAMS,
    INTERPRETERS,
    NAME_PROGRAMS,
    READING_PROGRAMS,
    RUNNERS,
    SHELL_SWITCHES,
)
from shared.permissions.tools import (
    COMMAND_TOOL,
    FILE_WRITERS,
    FOLDER_READERS,
    PATH_FIELDS,
    TOUCH_NOTHING,
)

MOST_TEXTS = 256  # texts looked at in the input of a tool nobody knows
MOST_PATHS_NAMED = 128  # paths compared of one command
MOST_FOLDERS = 16  # folders that relative paths of one command may start in
DEEPEST_QUOTES = 3  # commands quoted inside commands
NAME_SEPARATORS = re.compile(r"[=:@,]")
FOLDER_OPTIONS = ("-C", "--directory", "--git-dir", "--work-tree", "--prefix", "--chdir")
GREPS = frozenset(("grep", "egrep", "fgrep"))
# Option letters without a value.
GREP_FLAGS = "nilwvoHhcsrREFI"
SEARCH_FLAGS = "nilwvoHhcsS"
GIT_WALKERS = frozenset(("grep", "add", "archive", "stash"))


@dataclass(frozen=True, slots=True)
class Mention:
    """A path named by a call: absolute, with the wildcards of `commands.py`.

    `walks`: what lies below may be touched too. `certain`: False when another program reads the
    text as a command.
    """

    path: str
    writes: bool = False
    walks: bool = False
    certain: bool = True


@dataclass(slots=True)
class Mentions:
    """The paths named by a call. `unclear` is the reason why the call may touch more; empty when
    the call cannot.
    """

    paths: list[Mention] = field(default_factory=list)
    unclear: str = ""


def mentions_of(request: PermissionRequest, home: str) -> Mentions:
    """Return the paths in a permission request. `home` is the home folder of the tool's user."""
    tool = request.tool_name
    given = request.input
    folder = request.working_directory
    found = Mentions()
    if tool in PATH_FIELDS:
        writes = tool in FILE_WRITERS
        found.paths = [
            Mention(path, writes) for path in _spellings(given.get(PATH_FIELDS[tool]), folder, home)
        ]
    elif tool in FOLDER_READERS:
        found.paths = list(_mentions_of_folder(tool, given, folder, home))
    elif tool == COMMAND_TOOL:
        found = _mentions_of_command(given.get("command"), folder, home)
    elif tool == PATCH_TOOL:
        files = patched_files(given)
        found.paths = [
            Mention(path, writes=True) for file in files for path in _spellings(file, folder, home)
        ]
        found.unclear = "" if files else "the patch cannot be read"
    # A tool nobody knows: whatever looks like a path may be one, and may be written to.
    elif tool not in TOUCH_NOTHING:
        texts = [
            text
            for text in _texts(given)
            if len(text) <= LONGEST_SIMPLE_COMMAND and re.search(r"[/.~]", text)
        ]
        found.paths = [
            Mention(path, writes=True) for text in texts for path in _spellings(text, folder, home)
        ]
    if request.reach is not None:
        for reached in request.reach.paths:
            # Only a link makes the real path worth another look; the rest is mentioned already.
            if reached.real and reached.real != reached.asked:
                found.paths.append(Mention(reached.real, reached.writes, walks=reached.below))
    return found


def _mentions_of_folder(
    tool: str, given: dict[str, Any], folder: str, home: str
) -> Iterator[Mention]:
    """Yield the folder, and the files that a pattern of Grep names outright. Glob and LS tell names
    only.
    """
    looks_inside = tool == "Grep"
    pattern = given.get("glob")
    for path in _spellings(given.get(FOLDER_READERS[tool]) or folder, folder, home):
        yield Mention(path, walks=looks_inside)
        if looks_inside and isinstance(pattern, str) and len(pattern) <= LONGEST_SIMPLE_COMMAND:
            parts = [part.pattern for words in read_command(pattern).commands for part in words]
            # Any other pattern stays below the folder, which is mentioned already.
            yield from (
                Mention(_joined(part, path, home)) for part in parts if not _is_open_ended(part)
            )


def _is_open_ended(pattern: str) -> bool:
    return UNKNOWN in pattern or ANY_TEXT * 2 in pattern


def _texts(given: Any) -> list[str]:
    """Return the texts of a JSON value, at most MOST_TEXTS texts."""
    found: list[str] = []
    left = [given]
    # Without recursion, because an input may nest as deep as it likes.
    while left and len(found) < MOST_TEXTS:
        value = left.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
    return found


def _spellings(given: object, folder: str, home: str) -> list[str]:
    """Return the absolute paths a tool may read in a text: unchanged, trimmed, decoded,
    expanded.
    """
    if not isinstance(given, str) or not given:
        return []
    # Each tool trims, decodes and expands in its own way. Every reading that some tool may have is
    # a path to compare.
    texts = {given, given.strip(), unquote(given.strip())}
    texts |= {re.sub(r"^file:(//[^/]*)?(?=/)", "", text) for text in texts}
    texts |= {text.replace("${HOME}", home).replace("$HOME", home) for text in texts}
    return sorted({_joined(text, folder, home) for text in texts if text})


def _joined(text: str, folder: str, home: str) -> str:
    """Return the normalised absolute path of a text, also with `~` at the beginning."""
    if text == "~" or text.startswith("~/"):
        text = home + text[1:]
    elif text.startswith("~"):
        text = "/" + text  # the home of somebody else, who may be anywhere
    if not text.startswith("/"):
        text = f"{folder}/{text}"
    return normalised(text)


def _mentions_of_command(command: object, folder: str, home: str) -> Mentions:
    if not isinstance(command, str):
        return Mentions(unclear="the command is not a text")
    if len(command) > LONGEST_SIMPLE_COMMAND:
        return Mentions(unclear=f"the command is longer than {LONGEST_SIMPLE_COMMAND} characters")
    if not WILDCARDS.isdisjoint(command):
        return Mentions(unclear="the command holds characters that are no text")
    return _CommandMentions(folder, home).of(command)


class _CommandMentions:
    """Collects the mentions of a command line, and of command lines quoted inside."""

    def __init__(self, folder: str, home: str) -> None:
        self._home = home
        self._folders = [folder]
        self._found = Mentions()

    def of(self, command: str) -> Mentions:
        self._read(command, depth=0, certain=True)
        # Cut only after the doubles are gone, and never silently: with a cut list the call is
        # unclear.
        named = list(dict.fromkeys(self._found.paths))
        if len(named) > MOST_PATHS_NAMED:
            self._found.unclear = f"the command names more than {MOST_PATHS_NAMED} paths"
        self._found.paths = named[:MOST_PATHS_NAMED]
        return self._found

    def _read(self, command: str, *, depth: int, certain: bool) -> None:
        line = read_command(command, {"HOME": self._home, "PWD": self._folders[0]})
        # In two passes: a `cd` late in the line may have run before an earlier word is used, as in
        # a loop, so all folders are known before any word is looked at.
        for words in line.commands:
            self._follow_folders(words)
        for words in line.commands:
            self._look_at(words, depth, certain)

    def _follow_folders(self, words: list[Word]) -> None:
        """Add the folders a command may go to: relative paths of the whole line may start there."""
        program = program_of(words[0].text)
        goes = program in {"cd", "pushd", "chdir"} or any(
            word.text.startswith(FOLDER_OPTIONS) for word in words
        )
        if not goes:
            return
        targets = [self._home] if len(words) == 1 else []
        targets += [
            _joined(part, self._folders[0], self._home)
            for word in words[1:]
            for part in _parts(word.pattern)
        ]
        for target in targets:
            if len(self._folders) >= MOST_FOLDERS:
                self._found.unclear = "the command goes to many folders"
            elif target not in self._folders:
                self._folders.append(target)

    def _look_at(self, words: list[Word], depth: int, certain: bool) -> None:
        program = program_of(words[0].text)
        # Any word may be a program that the first one runs; a `.` is a command in the first place
        # only.
        programs = {program} | {program_of(word.text) for word in words[1:] if word.text != "."}
        letters = {
            letter for word in words[1:] if word.text.startswith("-") for letter in word.text
        }
        names_only = program in NAME_PROGRAMS and not letters & set(NAME_PROGRAMS[program])
        walks = not names_only and program not in HARMLESS_PROGRAMS
        writes = program not in READING_PROGRAMS
        self._doubt(words, programs)
        if self._walks_by_itself(program, words, letters):
            self._found.paths += [Mention(folder, writes, walks=True) for folder in self._folders]
        for word in words:
            into_file = word.redirect == ">"
            reads_file = word.redirect == "<"
            word_writes = into_file or (writes and not reads_file)
            for part in _parts(word.pattern):
                for folder in self._folders:
                    path = _joined(part, folder, self._home)
                    self._found.paths.append(Mention(path, word_writes, walks, certain))
            # A quoted command, as in `sh -c 'cat x'`: certain when a program here runs commands.
            if depth < DEEPEST_QUOTES and re.search(r"[\s'\"<>;&|]", word.text):
                self._read(word.text, depth=depth + 1, certain=certain and bool(programs & RUNNERS))

    def _doubt(self, words: list[Word], programs: set[str]) -> None:
        """Record the reason why a command may touch unnamed paths."""
        program = program_of(words[0].text)
        if (
            UNKNOWN in words[0].pattern
            or ANY_TEXT in words[0].pattern
            or ANY_LETTER in words[0].pattern
        ):
            self._found.unclear = "the program is known to the shell alone"
        elif program in SHELL_SWITCHES:
            self._found.unclear = f"`{program}` changes how the shell reads the rest"
        elif any("/../" in word.text.lstrip("./") for word in words):
            self._found.unclear = "a path goes up from a folder that may be a link"
        elif programs & INTERPRETERS:
            given_code = any(
                word.text.startswith(("-c", "-e", "-p", "-r", "--e")) for word in words[1:]
            )
            if given_code or program not in INTERPRETERS or len(words) == 1:
                self._found.unclear = "the command hands code to an interpreter"

    @staticmethod
    def _walks_by_itself(program: str, words: list[Word], letters: set[str]) -> bool:
        """Return True when the command reads the whole working folder without naming the folder."""
        if program == "git":
            return any(word.text in GIT_WALKERS for word in words[1:])
        if program in GREPS:
            recursive = bool(letters & set("rR")) or any(
                word.text.startswith("--") for word in words
            )
            return recursive and _operands(words, GREP_FLAGS) < 2
        if program in {"rg", "ag", "ack"}:
            return _operands(words, SEARCH_FLAGS) < 2
        return program in FOLDER_WALKERS and _operands(words, "") < 1


def _operands(words: list[Word], flags: str) -> int:
    """Count the words without a dash; a word after an option with other letters may be the option's
    value.
    """
    count = 0
    takes_next = False
    for word in words[1:]:
        if word.text.startswith("-"):
            takes_next = bool(set(word.text[1:]) - set(flags))
        elif not takes_next:
            count += 1
        else:
            takes_next = False
    return count


def _parts(pattern: str) -> list[str]:
    """Return the possible paths in a word: all of the word, and the text after `=`, `:`, `@`, `,`
    or an option.
    """
    found = [pattern, *NAME_SEPARATORS.split(pattern)]
    if "=" in pattern:
        found.append(pattern.partition("=")[2])
    if pattern.startswith("-"):
        found.append(pattern[2:])
    return list(dict.fromkeys(part for part in found if part))
