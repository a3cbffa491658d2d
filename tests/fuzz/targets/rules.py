"""Permission rules as people and programs write them, and their match with a tool call."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

from permission_service.built_in import CONVERSATION, EDITING, READING, BuiltInRule
from permission_service.decision import Policy
from permission_service.presentation import present
from shared.bus.channels import PermissionRequest, decode_payload, encode_payload
from shared.permissions.claude_export import export_rules
from shared.permissions.claude_import import (
    SettingsSource,
    other_settings,
    read_permissions,
    withhold_doubtful,
)
from shared.permissions.claude_rules import read_allowed_tools
from shared.permissions.commands import read_command, simple_command
from shared.permissions.fair_use import request_problem
from shared.permissions.protected import ProtectedPath, ProtectedPaths
from shared.permissions.rule_index import RuleIndex
from shared.permissions.rules import Rule, judge, never_matches, read_rule, rule_problems
from shared.permissions.rules_text import read_rules_text, rules_of
from shared.permissions.suggestions import suggest
from shared.runtime.errors import ClientError
from tests.fuzz.targets.target import Target, chosen, hold, seed

HOME = "/users/me"
START = f"{HOME}/project"
PROTECTED = ProtectedPaths(
    [
        ProtectedPath(f"{HOME}/.ssh", "keys"),
        ProtectedPath(f"{HOME}/.bashrc", "what a shell runs", reads=False),
        ProtectedPath(".env", "the configuration", anywhere=True),
    ],
    HOME,
)
EVERYTHING_DENIED = Rule(tool="*", effect="deny")
BASH = PermissionRequest("p", "Bash", {"command": "git status"}, working_directory=START)
READ = PermissionRequest("p", "Read", {"file_path": f"{START}/a.py"}, working_directory=START)
FETCH = PermissionRequest("p", "WebFetch", {"url": "https://a.example.com/x", "prompt": "p"})
EDIT = PermissionRequest(
    "p",
    "Edit",
    {"file_path": "a.py", "old_string": "a", "new_string": "b"},
    working_directory=START,
    caller="alice",
    session_id="s1",
)
QUESTION = PermissionRequest(
    "p",
    "AskUserQuestion",
    {"questions": [{"question": "Which?", "options": [{"label": "a"}, {"label": "b"}]}]},
)
PATCH = PermissionRequest(
    "p", "apply_patch", {"command": "*** Begin Patch\n*** Update File: a.py\n@@\n-a\n+b\n"}
)
GREP = PermissionRequest("p", "Grep", {"pattern": "x", "path": ".", "glob": "*.py"})
MCP = PermissionRequest("p", "mcp__web__search", {"query": "x"}, insists=True, program="Codex")
REQUESTS = (BASH, READ, FETCH, EDIT, QUESTION, PATCH, GREP, MCP)
RULES: list[dict[str, Any]] = [
    {"tool": "Bash", "command_prefix": "git status"},
    {"tool": "Bash", "command": "make test", "effect": "ask"},
    {"tool": "Read", "under": f"{START}/src", "effect": "deny"},
    {"tool": "WebFetch", "host": "*.example.com"},
    {"tool": "Edit", "under": "~/project", "scope": "session", "session_id": "s1", "caller": "a"},
    {"tool": "mcp__*", "working_folder": START},
    {"tool": "*", "effect": "ask", "scope": "caller", "caller": "alice"},
]
RULES_FILE = """
removed = ["rule_reading"]
[[rules]]
tool = "Bash"
command_prefix = "git log"
[[rules]]
effect = "deny"
tool = "Read"
under = "~/private"
[profiles.night]
about = "While nobody watches"
accept_edits = true
[[profiles.night.rules]]
tool = "WebFetch"
host = "example.com"
[active]
profiles = ["night"]
while_away = ["night"]
by = "alice"
at = 2026-11-30T08:00:00Z
"""
SETTINGS = {
    "permissions": {
        "allow": ["Bash(git log:*)", "Read(//srv/docs/**)", "WebFetch(domain:example.com)", "Edit"],
        "ask": ["Bash(git push *)"],
        "deny": ["Read(./.env)", "mcp__web", "Bash(curl:*)"],
        "defaultMode": "default",
    }
}
COMMANDS = (
    "git status --short",
    'cat \'a b\' "c\\"d" e\\ f > out 2>&1',
    "FOO=1 make -j4 && rm -rf ~/x/{a,b} | tee $(pwd)/log; echo `id`",
    "find . -name '*.py' -exec grep -n x {} +",
    "env A=1 sudo -u me bash -c 'cat ~/.ssh/id' <<EOF\nx\nEOF",
    "sed -n '1,5p' src/a.py; xargs -0 cat < list",
)


SHORT = 150


class Tried:
    """Rules that a policy decides by."""

    def __init__(self, rules: list[Rule]) -> None:
        self._index = RuleIndex(rules)

    def concerning(self, request: PermissionRequest) -> list[Rule]:
        return self._index.concerning(request)

    def built_in(self) -> list[BuiltInRule]:
        return [READING, CONVERSATION, EDITING]

    def text_of(self, rule_id: str) -> str:
        return rule_id


def read_file(_: int, data: bytes) -> None:
    try:
        found = read_rules_text(data.decode("utf-8", "replace"))
    except ClientError:
        return
    rules = [*found.rules, *rules_of(found.profiles.values())]
    rule_problems(rules)
    for rule in rules:
        keeps_its_id(rule)
    for request in REQUESTS:
        decide(request, rules)
    exported = export_rules(rules)
    hold(bool(json.dumps(exported.entries)), "exported rules can be written")


def keeps_its_id(rule: Rule) -> None:
    again = read_rule(rule.model_dump())
    hold(again == rule and again.id == rule.id, "a rule is read as it was written")
    hold(rule.describe() != "", "a rule has words")
    never_matches(rule)


def judge_call(_: int, data: bytes) -> None:
    try:
        document = json.loads(data)
        shapes = document["rules"]
        request = decode_payload(PermissionRequest, encode_payload(document["request"]))
        rules = [read_rule(shape) for shape in shapes]
    except (ClientError, ValueError, KeyError, TypeError, RecursionError):
        return
    for rule in rules:
        keeps_its_id(rule)
    decide(request, rules)


def decide(request: PermissionRequest, rules: list[Rule]) -> None:
    """Check all that the permission service does with a request before a person sees it."""
    if request_problem(request):
        return
    verdict = judge(request, rules)
    outcome = verdict.outcome
    indexed = judge(request, RuleIndex(rules).concerning(request))
    hold(indexed == verdict, "an index leaves no rule out that decides")
    hold(judge(request, rules[::-1]).outcome == outcome, "the order of rules decides nothing")
    hold(judge(request, [*rules, EVERYTHING_DENIED]).outcome == "deny", "deny beats allow")
    ruling = Policy(Tried(rules), PROTECTED).decide(request)
    if PROTECTED.touched_by(request) is not None:
        hold(ruling is not None and not ruling.allowed, "a protected path is denied")
    Policy(Tried(rules), PROTECTED).explain(request)
    suggestion = suggest(request)
    shown = present(request, suggestion)
    hold(bool(encode_payload(shown)), "a presentation can be sent")
    hold("\x1b" not in shown.title and "\u202e" not in shown.title, "a title hides nothing")
    if suggestion is not None:
        rule = read_rule({"effect": "allow", **suggestion})
        suggested = judge(request, [rule]).outcome
        hold(suggested == "allow" or request.reach is not None, "a suggestion covers its request")


def read_settings(_: int, data: bytes) -> None:
    try:
        settings = json.loads(data)
        source = SettingsSource("settings.json", HOME, START)
        found = read_permissions(settings, source)
    except (ClientError, ValueError, RecursionError):
        return
    other_settings(settings)
    for entry in withhold_doubtful(found, found):
        hold(bool(entry.rules) or entry.problem != "", "an entry is taken, or a reason is given")
        for rule in entry.rules:
            keeps_its_id(rule)
    export_rules(rule for entry in found for rule in entry.rules)
    allowed = settings["permissions"].get("allow", []) if "permissions" in settings else []
    claude_entries(allowed)


def claude_entries(entries: list[str]) -> None:
    try:
        rules = read_allowed_tools(entries)
    except ClientError:
        return
    for rule in rules:
        keeps_its_id(rule)


def read_line(_: int, data: bytes) -> None:
    # A long command takes milliseconds, and few of its letters decide.
    command = data[:SHORT].decode("utf-8", "replace")
    words = simple_command(command)
    if words is not None:
        hold(shlex.split(command) == words, "a simple command has the words of a shell")
        hold(read_command(command).plain, "a simple command is plain")
    request = PermissionRequest("p", "Bash", {"command": command}, working_directory=START)
    decide(request, [read_rule(shape) for shape in RULES])


KINDS: tuple[Callable[[int, bytes], None], ...] = (read_file, judge_call, read_settings, read_line)


def check(data: bytes) -> None:
    kind, number, body = chosen(data, KINDS)
    kind(number, body)


def seeds() -> list[bytes]:
    calls = [
        {"rules": RULES, "request": json.loads(encode_payload(request))} for request in REQUESTS
    ]
    return [
        seed(0, RULES_FILE.encode()),
        *(seed(1, call) for call in calls),
        seed(2, SETTINGS),
        *(seed(3, command.encode()) for command in COMMANDS),
    ]


PERMISSION_RULES = Target("rules", "permission rules and their match with calls", check, seeds)
