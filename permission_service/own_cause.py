"""Nobody is a judge in their own cause: a caller that can make permission requests does not grant
them.

This holds for every caller whose token has the scope `agent` or `ask` beside `approve`, the owner
excepted. Such a caller may answer other callers' requests and deny its own. It changes no rules and
switches no profiles, also not by the owner's presence, because a rule would answer its own next
request (docs/decisions/0055-scopes.md).
"""

from __future__ import annotations

from collections.abc import Callable

from permission_service.requests import StoredRequest
from shared.bus.channels import PermissionQuery
from shared.runtime.errors import NotAllowed

CHANGES_RULES = frozenset(
    {"add_rule", "remove_rule", "restore_rule", "set_profiles", "copy_profile"}
)
OWN_REQUEST = "{by!r} made this request and cannot allow it itself; another person's token has to."
OWN_RULES = (
    "{by!r} can make permission requests itself, so it cannot change the rules that answer them; "
    "use the owner's token, or one with neither `agent` nor `ask`."
)


def refuse_own_cause(
    question: PermissionQuery,
    find: Callable[[str], StoredRequest],
    *,
    away_changes_rules: bool = False,
) -> None:
    """Check a question whose caller can make permission requests. `find` returns the request of a
    request id; `away_changes_rules` is True while a profile follows the owner's presence.

    Raises NotAllowed, and NotFound from `find`.
    """
    follows = question.verb == "set_away" and away_changes_rules
    if question.verb in CHANGES_RULES or follows:
        raise NotAllowed(OWN_RULES.format(by=question.by))
    if question.verb != "decide":
        return
    parameters = question.parameters
    if parameters.get("remember") is not None:
        raise NotAllowed(OWN_RULES.format(by=question.by))
    stored = find(str(parameters.get("request_id")))
    if stored.ask.caller == question.by and parameters.get("allowed") is not False:
        raise NotAllowed(OWN_REQUEST.format(by=question.by))
