"""Rules that answer for a person: allow or deny a tool by its name, a command, a folder, a host, or
keep the answer for a person.

An allow rule applies only to what it certainly covers. A deny rule also applies to what it may
cover, and a person decides then. So anything not understood (a compound command, an odd spelling of
a path or host) ends with a person. An ask rule is a deny rule that only ever asks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.bus.channels import PermissionRequest
from shared.formats.json_text import is_whole
from shared.permissions.commands import is_other_git_command, may_run, simple_command
from shared.permissions.hosts import host_fits, may_be_same_host, plain_host
from shared.permissions.paths import folded, lies_in, normalised
from shared.permissions.reach import Reach, ReachedPath, spelled_reach
from shared.permissions.tools import (
    COMMAND_FIELDS,
    COMMAND_TOOL,
    FOLDER_READERS,
    PATH_FIELDS,
    QUESTION,
    TOUCH_NOTHING,
    URL_TOOL,
    command_of,
)
from shared.runtime.errors import ClientError

Effect = Literal["allow", "ask", "deny"]
Scope = Literal["session", "caller", "always"]
Match = Literal["yes", "maybe", "no"]

EFFECT_WORDS: dict[Effect, str] = {
    "allow": "allow",
    "ask": "ask a person about",
    "deny": "deny",
}
PROFILE_NAME = r"[a-z0-9][a-z0-9-]{0,31}"


class Rule(BaseModel):
    """A rule. Every given field must fit.

    `command` is one exact command line, `command_prefix` its first words, `under` a folder, `host`
    a name or `*.name`, `working_folder` the folder of the project in which the agent works. `tool`
    may end in `*`. A session's rule is also its caller's. A rule of a `profile` is in force only
    while the profile is.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: Effect = "allow"
    tool: str = Field(min_length=1)
    command: str | None = None
    command_prefix: str | None = None
    under: str | None = None
    host: str | None = None
    working_folder: str | None = None
    profile: str | None = Field(default=None, pattern=f"^{PROFILE_NAME}$")
    scope: Scope = "always"
    caller: str | None = None
    session_id: str | None = None

    @model_validator(mode="after")
    def _is_meaningful(self) -> Rule:
        # A rule is kept as UTF-8, which has no halves of surrogate pairs.
        if not all(is_whole(text) for _, text in self if isinstance(text, str)):
            raise ValueError("a text of a rule must be valid UTF-8")
        for name in ("command", "command_prefix"):
            text = getattr(self, name)
            if text is not None and not simple_command(text):
                raise ValueError(
                    f"{name} must be one plain command, without operators, substitutions or "
                    "variables"
                )
        for name in ("under", "working_folder"):
            folder = getattr(self, name)
            if folder is not None and not os.path.isabs(os.path.expanduser(folder)):
                raise ValueError(f"{name} must be an absolute folder (or begin with ~)")
            if folder is not None and ".." in folder.split("/"):
                raise ValueError(f"{name} must be a folder without `..`")
        if self.host is not None and plain_host(self.host.removeprefix("*.")) is None:
            raise ValueError(
                "host must be a plain name or address, or *.name; write other alphabets as xn--…"
            )
        if self.scope == "session" and not self.session_id:
            raise ValueError("a rule for a session must name it")
        if self.scope == "caller" and self.caller is None:
            raise ValueError("a rule for a caller must name it")
        if self.profile is not None and self.scope != "always":
            raise ValueError("a rule of a profile is for every session and caller")
        return self

    @property
    def id(self) -> str:
        """The same text for the same rule, wherever the rule is kept. The id of a rule of a profile
        names the profile, as `night:rule_…`.
        """
        said = orjson.dumps(self.model_dump(exclude_none=True), option=orjson.OPT_SORT_KEYS)
        digest = "rule_" + hashlib.sha256(said).hexdigest()[:12]
        return f"{self.profile}:{digest}" if self.profile else digest

    def describe(self) -> str:
        """Return the rule in words: `allow Bash: git status …, in this session`."""
        what = [
            self.command and f"exactly {self.command}",
            self.command_prefix and f"{self.command_prefix} …",
            self.under and f"under {self.under}",
            self.host and f"at {self.host}",
            self.working_folder and f"for agents working in {self.working_folder}",
        ]
        where = {
            "session": ", in this session",
            "caller": f", for {self.caller or 'local callers'}",
            "always": "",
        }
        details = ", ".join(part for part in what if part)
        text = f"{EFFECT_WORDS[self.effect]} {self.tool}" + (f": {details}" if details else "")
        profile = f", in the profile {self.profile}" if self.profile else ""
        return text + where[self.scope] + profile


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer of the rules to a permission request. `ask`: a person decides; `rule` is then the
    ask rule that applies, or the deny or ask rule that may apply, if any.
    """

    outcome: Literal["allow", "deny", "ask"]
    rule: Rule | None = None


def judge(request: PermissionRequest, rules: Iterable[Rule]) -> Verdict:
    """Return what the rules say of a permission request. Deny beats ask, ask beats allow; a rule
    never answers a question.
    """
    reach = reach_as_sent(request)
    allowed: Rule | None = None
    doubtful: Rule | None = None
    for rule in rules:
        match = covers(rule, request, reach)
        # A sure denial ends the search. A doubtful one, and a rule that asks, is kept to the end: a
        # later rule may deny for sure.
        if rule.effect == "deny" and match == "yes":
            return Verdict("deny", rule)
        if rule.effect != "allow" and match != "no":
            doubtful = doubtful or rule
        if rule.effect == "allow" and match == "yes":
            allowed = allowed or rule
    # One such rule is enough to ask a person, however many rules allow.
    if doubtful or allowed is None or request.tool_name == QUESTION:
        return Verdict("ask", doubtful)
    return Verdict("allow", allowed)


def reach_as_sent(request: PermissionRequest) -> Reach:
    """Return the reach sent with the request, else the reach by spelling."""
    if request.reach is not None:
        return request.reach
    return spelled_reach(request.tool_name, request.input, request.working_directory)


def covers(rule: Rule, request: PermissionRequest, reach: Reach) -> Match:
    """Return the certainty of a match between the rule and `request`; `maybe` for a request that
    cannot be understood.
    """
    if rule.scope != "always" and rule.caller != request.caller:
        return "no"
    if rule.scope == "session" and rule.session_id != request.session_id:
        return "no"
    if not _names_tool(rule.tool, request.tool_name):
        return "no"
    found = [
        _fits_command(rule, request) if rule.command or rule.command_prefix else "yes",
        _fits_folder(rule, reach) if rule.under is not None else "yes",
        _fits_host(rule, reach) if rule.host is not None else "yes",
        _fits_working_folder(rule, request, reach) if rule.working_folder is not None else "yes",
    ]
    return "no" if "no" in found else "maybe" if "maybe" in found else "yes"


def _names_tool(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def _fits_command(rule: Rule, request: PermissionRequest) -> Match:
    command = command_of(request.tool_name, request.input)
    if command is None:
        # A Bash call without a readable command is not understood; other tools have no command.
        return "maybe" if request.tool_name == COMMAND_TOOL else "no"
    words = simple_command(command)
    # A compound command, or a field that changes how the command runs, is beyond what the rule's
    # author has seen.
    if words is None or set(request.input) - COMMAND_FIELDS:
        return "maybe"
    wanted = simple_command(rule.command or rule.command_prefix or "") or []
    if rule.command is None and words[: len(wanted)] == wanted:
        return "yes"
    if rule.command is not None and command.strip() == rule.command.strip():
        return "yes"
    # An allow rule covers only what it certainly fits. A deny rule goes on to ask whether the
    # command may run its program by another way.
    if rule.effect == "allow" or is_other_git_command(words, wanted):
        return "no"
    return "maybe" if may_run(words, wanted[0]) else "no"


@lru_cache(maxsize=1024)
def folder_and_its_target(under: str) -> tuple[str, str]:
    """Return the folder of a rule as written, and with this machine's links resolved.

    The links are read once: a folder that is replaced by a link later does not widen the rule.
    """
    written = normalised(os.path.expanduser(under))
    return written, os.path.realpath(written)


def _folders_to_compare(rule: Rule, folder: str, reach: Reach) -> tuple[str, ...]:
    """Return the folder of a rule as written, and with this machine's links resolved. For a call on
    a different machine an allow rule counts only as written: a link here must not widen a rule
    there.
    """
    written, target = folder_and_its_target(folder)
    return (written,) if rule.effect == "allow" and reach.elsewhere else (written, target)


def _fits_working_folder(rule: Rule, request: PermissionRequest, reach: Reach) -> Match:
    assert rule.working_folder is not None
    if not request.working_directory.startswith("/"):
        return "no" if rule.effect == "allow" else "maybe"
    at = normalised(request.working_directory)
    folders = _folders_to_compare(rule, rule.working_folder, reach)
    return "yes" if any(lies_in(at, folder) for folder in folders) else "no"


def _fits_folder(rule: Rule, reach: Reach) -> Match:
    assert rule.under is not None
    folders = _folders_to_compare(rule, rule.under, reach)
    if rule.effect != "allow":
        return _denied_folder(folders, reach)
    if reach.paths and all(_is_inside(path, folders) for path in reach.paths):
        return "yes" if reach.complete else "maybe"
    return "no" if reach.complete else "maybe"


def _is_inside(path: ReachedPath, folders: tuple[str, ...]) -> bool:
    """Return True when the path certainly lies in the folder.

    Without the real path of the machine that runs the tool, the path must be spelled below the
    folder as written, and the links of this machine must not contradict (the two machines are often
    the same).
    """
    if path.real:
        return any(lies_in(path.real, folder) for folder in folders)
    if not lies_in(path.asked, folders[0]):
        return False
    return any(lies_in(os.path.realpath(path.asked), folder) for folder in folders)


def _denied_folder(folders: tuple[str, ...], reach: Reach) -> Match:
    # One spelling inside the folder denies for sure; everything less certain only asks a person.
    doubtful = not reach.complete
    for path in reach.paths:
        spellings = [path.asked, path.real or os.path.realpath(path.asked)]
        for spelling in spellings:
            for folder in folders:
                if lies_in(spelling, folder):
                    return "yes"
                if lies_in(folded(spelling), folded(folder)):
                    doubtful = True  # the same on a file system that ignores case
                if path.below and lies_in(folded(folder), folded(spelling)):
                    doubtful = True
    return "maybe" if doubtful else "no"


def _fits_host(rule: Rule, reach: Reach) -> Match:
    assert rule.host is not None
    star = "*." if rule.host.startswith("*.") else ""
    wanted = star + (plain_host(rule.host.removeprefix("*.")) or "")
    fitting = [host_fits(host, wanted) for host in reach.hosts]
    if rule.effect == "allow":
        # All hosts have to fit, and nothing but hosts may be touched.
        if reach.complete and not reach.paths and fitting and all(fitting):
            return "yes"
        return "no" if reach.complete else "maybe"
    if any(fitting):
        return "yes"
    doubtful = not reach.complete or any(may_be_same_host(host, wanted) for host in reach.hosts)
    return "maybe" if doubtful else "no"


def never_matches(rule: Rule) -> str | None:
    """Return the reason why the rule can never apply to a request; None for a rule that
    can apply.
    """
    tool = rule.tool
    if tool.endswith("*"):
        return None
    has_no_files = tool in TOUCH_NOTHING or tool == URL_TOOL
    has_no_host = tool in TOUCH_NOTHING or tool in PATH_FIELDS or tool in FOLDER_READERS
    if (rule.command or rule.command_prefix) and tool != COMMAND_TOOL:
        return f"{tool} runs no command"
    if rule.under is not None and has_no_files:
        return f"{tool} touches no folder"
    if rule.host is not None and has_no_host:
        return f"{tool} fetches from no host"
    if rule.effect == "allow" and rule.host is not None and tool != URL_TOOL:
        return f"the host that {tool} reaches cannot be known"
    if (
        rule.effect == "allow"
        and rule.under is not None
        and tool not in {*PATH_FIELDS, *FOLDER_READERS, COMMAND_TOOL}
    ):
        return f"the files that {tool} touches cannot be known"
    return None


def rule_problems(rules: Iterable[Rule]) -> list[str]:
    """Return a sentence for every rule that never applies, or depends on links of another
    machine.
    """
    found = []
    for rule in rules:
        reason = never_matches(rule)
        if reason is not None:
            found.append(f"The rule `{rule.describe()}` never applies: {reason}.")
        elif rule.under is not None and not os.path.isdir(folder_and_its_target(rule.under)[0]):
            found.append(
                f"The folder of the rule `{rule.describe()}` is not on this machine: the rule "
                "applies to real paths only, so write the folder without links."
            )
    return found


def read_rule(shape: Any) -> Rule:
    """Return a rule written by a person or program. Raises ClientError naming the mistake."""
    try:
        return Rule.model_validate(shape)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ClientError(
            f"rule.{where}: {first['msg']}" if where else f"rule: {first['msg']}"
        ) from error
