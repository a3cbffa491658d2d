"""The rules that may concern a permission request, found without a look at all the others.

A rule is kept under its owner (everybody, a caller, a session), its tool, and for an allow rule one
more mark: the program of its command, its folder, or its host. An allow rule counts only when it
surely fits, and then the request has the mark too. A rule that denies or asks also counts when it
may fit, so it is found by owner and tool alone.

Invariant: a rule that is left out would say nothing of the request; the others keep their order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from shared.bus.channels import PermissionRequest
from shared.permissions.commands import simple_command
from shared.permissions.hosts import plain_host
from shared.permissions.rules import Rule, folder_and_its_target, reach_as_sent
from shared.permissions.tools import command_of

Owner = tuple[str | None, ...]
Mark = tuple[str, str]
Key = tuple[Owner, str, Mark]

EVERYBODY: Owner = ()
NO_MARK: Mark = ("", "")


class RuleIndex:
    """Rules in their order; `rules` has all of them."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules: list[Rule] = []
        self._places: defaultdict[Key, list[int]] = defaultdict(list)
        self._pattern_lengths: set[int] = set()  # of the texts before a `*` in the tools of rules
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        """Put `rule` behind the others."""
        if rule.tool.endswith("*"):
            self._pattern_lengths.add(len(rule.tool) - 1)
        for mark in marks_of_rule(rule):
            self._places[rule_owner(rule), rule.tool, mark].append(len(self.rules))
        self.rules.append(rule)

    def concerning(self, request: PermissionRequest) -> list[Rule]:
        """Return the rules that may concern `request`, in their order."""
        name = request.tool_name
        owners = (EVERYBODY, (request.caller,), (request.caller, request.session_id))
        tools = [name, *(f"{name[:length]}*" for length in self._pattern_lengths)]
        marks = {NO_MARK, *marks_of_request(request)}
        places = {
            place
            for owner in owners
            for tool in tools
            for mark in marks
            for place in self._places.get((owner, tool, mark), ())
        }
        return [self.rules[place] for place in sorted(places)]


def rule_owner(rule: Rule) -> Owner:
    """Return the owner whose requests alone the rule concerns."""
    if rule.scope == "session":
        return (rule.caller, rule.session_id)
    return (rule.caller,) if rule.scope == "caller" else EVERYBODY


def marks_of_rule(rule: Rule) -> set[Mark]:
    """Return the marks of which a request must have one, to be surely allowed by the rule."""
    if rule.effect != "allow":
        return {NO_MARK}
    if command := rule.command or rule.command_prefix:
        words = simple_command(command) or [""]
        return {("program", words[0])}
    if rule.under is not None:
        return {("folder", folder) for folder in folder_and_its_target(rule.under)}
    if rule.host is not None and not rule.host.startswith("*."):
        return {("host", plain_host(rule.host) or "")}
    return {NO_MARK}


def marks_of_request(request: PermissionRequest) -> Iterator[Mark]:
    """Yield the marks of a request. A folder or host rule needs all paths or hosts of the request,
    so the first one is enough to find the rule.
    """
    command = command_of(request.tool_name, request.input)
    if command is not None and (words := simple_command(command)):
        yield "program", words[0]
    reach = reach_as_sent(request)
    if reach.hosts:
        yield "host", reach.hosts[0]
    if reach.paths:
        path = reach.paths[0].real or reach.paths[0].asked
        yield "folder", "/"
        yield "folder", path
        for at, letter in enumerate(path):
            if letter == "/":
                yield "folder", path[:at]
