"""Rules that answer for a person: allow or deny a tool by its name, a command, a folder, a host. Pure but for symlinks.

An allow rule applies only to what it certainly covers; a deny rule also to what it may cover, which then is asked
about. So anything not understood (a compound command, a path that cannot be resolved) ends with a person.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.channels import PermissionAsk
from shared.errors import ClientError
from shared.permissions.tools import COMMAND_FIELDS, COMMAND_TOOL, PATH_FIELDS, QUESTION, URL_TOOL

# Programs that are many in one: a prefix of their name alone would cover too much.
WITH_SUBCOMMANDS = frozenset(("apt", "brew", "cargo", "docker", "gh", "git", "go", "npm", "pip", "pnpm", "uv", "yarn"))
# Whatever makes a shell do more than run one program with these words: operators, substitutions, more lines.
SHELL_SYNTAX = re.compile(r"[;&|<>()`$\n\r\x00-\x08\x0b-\x1f\x7f]")
WORD_SYNTAX = frozenset("*?[]{}~!#=")  # expanded into other words, or an assignment when they open a command

Effect = Literal["allow", "deny"]
Scope = Literal["session", "caller", "always"]
Match = Literal["yes", "maybe", "no"]


class Rule(BaseModel):
    """What is given must all fit. `command` is one exact command line, `command_prefix` its first words; `under` a
    folder, `host` a name or `*.name`. `tool` may end in `*`. A session's rule is also its caller's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: Effect = "allow"
    tool: str = Field(min_length=1)
    command: str | None = None
    command_prefix: str | None = None
    under: str | None = None
    host: str | None = None
    scope: Scope = "always"
    caller: str | None = None
    session_id: str | None = None

    @model_validator(mode="after")
    def _says_something_real(self) -> Rule:
        for name in ("command", "command_prefix"):
            text = getattr(self, name)
            if text is not None and not simple_command(text):
                raise ValueError(f"{name} must be one plain command, without operators, substitutions or variables")
        if self.under is not None and not Path(self.under).expanduser().is_absolute():
            raise ValueError("under must be an absolute folder (or begin with ~)")
        if self.scope == "session" and not self.session_id:
            raise ValueError("a rule for a session must name it")
        if self.scope == "caller" and self.caller is None:
            raise ValueError("a rule for a caller must name it")
        return self

    @property
    def id(self) -> str:
        """The same for the same rule, wherever it is kept."""
        said = orjson.dumps(self.model_dump(exclude_none=True), option=orjson.OPT_SORT_KEYS)
        return "rule_" + hashlib.sha256(said).hexdigest()[:12]

    def describe(self) -> str:
        """`allow Bash: git status …, in this session`."""
        what = [
            self.command and f"exactly {self.command}",
            self.command_prefix and f"{self.command_prefix} …",
            self.under and f"under {self.under}",
            self.host and f"at {self.host}",
        ]
        where = {"session": ", in this session", "caller": f", for {self.caller or 'local callers'}", "always": ""}
        details = ", ".join(part for part in what if part)
        return f"{self.effect} {self.tool}" + (f": {details}" if details else "") + where[self.scope]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the rules say of an ask. `ask`: a person decides; `rule` is then the deny rule that may apply, if any."""

    outcome: Literal["allow", "deny", "ask"]
    rule: Rule | None = None


def judge(ask: PermissionAsk, rules: Iterable[Rule]) -> Verdict:
    """Deny beats allow; a question to a person is never allowed by a rule."""
    allowed: Rule | None = None
    doubtful: Rule | None = None
    for rule in rules:
        match = covers(rule, ask)
        if rule.effect == "deny" and match == "yes":
            return Verdict("deny", rule)
        if rule.effect == "deny" and match == "maybe":
            doubtful = doubtful or rule
        if rule.effect == "allow" and match == "yes":
            allowed = allowed or rule
    if doubtful or allowed is None or ask.tool_name == QUESTION:
        return Verdict("ask", doubtful)
    return Verdict("allow", allowed)


def covers(rule: Rule, ask: PermissionAsk) -> Match:
    """Whether the rule is about this ask; `maybe` when its input cannot be understood."""
    if rule.scope != "always" and rule.caller != ask.caller:
        return "no"
    if rule.scope == "session" and rule.session_id != ask.session_id:
        return "no"
    if not _is_tool(rule.tool, ask.tool_name):
        return "no"
    found = [
        _in_order(rule, ask) if rule.command or rule.command_prefix else "yes",
        _under(rule.under, ask) if rule.under is not None else "yes",
        _at_host(rule.host, ask) if rule.host is not None else "yes",
    ]
    return "no" if "no" in found else "maybe" if "maybe" in found else "yes"


def _is_tool(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def simple_command(text: str) -> list[str] | None:
    """The words of a command line that runs one program and nothing else; None for anything a shell would do more with.

    Quotes are understood, but an operator inside them counts as one all the same: when in doubt it is not simple.
    """
    if SHELL_SYNTAX.search(text):
        return None
    try:
        words = shlex.split(text)
    except ValueError:
        return None
    if not words or WORD_SYNTAX & set(words[0]):
        return None
    return words


def _in_order(rule: Rule, ask: PermissionAsk) -> Match:
    given = ask.input.get("command")
    if ask.tool_name != COMMAND_TOOL or not isinstance(given, str):
        return "no"
    words = simple_command(given)
    if words is None or set(ask.input) - COMMAND_FIELDS:
        return "maybe"
    wanted = simple_command(rule.command or rule.command_prefix or "") or []
    same = words == wanted if rule.command else words[: len(wanted)] == wanted
    if same and (rule.command is None or given.strip() == rule.command.strip()):
        return "yes"
    return "maybe" if rule.effect == "deny" and _mentions(words, wanted[0]) else "no"


def _mentions(words: list[str], program: str) -> bool:
    """Whether a program may be run by way of another: `/bin/rm`, `sudo rm`, `sh -c 'rm …'`."""
    return re.search(rf"(?<![\w-]){re.escape(program)}(?![\w-])", " ".join(words)) is not None


def asked_path(ask: PermissionAsk) -> str | None:
    """The absolute path the tool would touch, as asked; None when it has none, or one that cannot be known."""
    given = ask.input.get(PATH_FIELDS.get(ask.tool_name, ""))
    if not isinstance(given, str) or not given or "\0" in given:
        return None
    if not os.path.isabs(given):
        if not os.path.isabs(ask.working_directory):
            return None
        given = os.path.join(ask.working_directory, given)
    return None if ".." in Path(given).parts else given


def _under(folder: str, ask: PermissionAsk) -> Match:
    """Both with every symlink followed, as this machine sees them: a folder that is not here covers nothing."""
    if ask.tool_name not in PATH_FIELDS:
        return "no"
    path, real_folder = asked_path(ask), os.path.realpath(os.path.expanduser(folder))
    if path is None or not os.path.isdir(real_folder):
        return "maybe"
    return "yes" if Path(os.path.realpath(path)).is_relative_to(real_folder) else "no"


def asked_host(ask: PermissionAsk) -> str | None:
    """The host the tool would fetch from; None when the address could be read in two ways."""
    url = ask.input.get("url")
    if not isinstance(url, str) or re.search(r"[\s\\\x00-\x1f]", url):
        return None
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or "@" in parts.netloc or not host:
        return None
    return host.rstrip(".")


def _at_host(wanted: str, ask: PermissionAsk) -> Match:
    if ask.tool_name != URL_TOOL:
        return "no"
    host, wanted = asked_host(ask), wanted.lower()
    if host is None:
        return "maybe"
    fits = host.endswith(wanted[1:]) if wanted.startswith("*.") else host == wanted
    return "yes" if fits else "no"


def suggest(ask: PermissionAsk) -> dict[str, str] | None:
    """What "and the like" most likely means for this ask: fields of a rule. None when there is no safe answer."""
    tool = ask.tool_name
    if tool == QUESTION:
        return None
    if tool == COMMAND_TOOL:
        words = simple_command(str(ask.input.get("command", "")))
        if words is None or set(ask.input) - COMMAND_FIELDS:
            return None
        length = 2 if words[0] in WITH_SUBCOMMANDS and len(words) > 1 and words[1].isidentifier() else 1
        return {"tool": tool, "command_prefix": shlex.join(words[:length])}
    if tool in PATH_FIELDS:
        path = asked_path(ask)
        return {"tool": tool, "under": os.path.dirname(os.path.realpath(path))} if path else None
    if tool == URL_TOOL:
        host = asked_host(ask)
        return {"tool": tool, "host": host} if host else None
    return {"tool": tool}


def read_rule(shape: Any) -> Rule:
    """A rule as somebody wrote it. Raises ClientError naming what is wrong."""
    try:
        return Rule.model_validate(shape)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ClientError(f"rule.{where}: {first['msg']}" if where else f"rule: {first['msg']}") from error


def read_rules(text: str) -> list[Rule]:
    """The `[[rules]]` of a TOML file. Raises ClientError: a file with one bad rule has none that may be trusted."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ClientError(f"not valid TOML: {error}") from error
    if unknown := set(document) - {"rules"}:
        raise ClientError(f"unknown entry {min(unknown)!r}; rules are written as [[rules]]")
    shapes = document.get("rules", [])
    if not isinstance(shapes, list):
        raise ClientError("rules are written as [[rules]]")
    return [read_rule(shape) for shape in shapes]
