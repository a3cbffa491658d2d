"""The credential that pays on each route: one answer for `/health`, `status`, `doctor` and the
lines of a start.

`/api` and `/sdk` use one credential by one rule (`shared/accounts/claude.py`), so `/sdk` differs
only where the `claude` program cannot read what `/api` can.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from shared.accounts.account import Account
from shared.accounts.claude import obstacle_for_program
from shared.accounts.login import CredentialState
from shared.settings.tree import Settings


@dataclass(frozen=True, slots=True)
class RouteCredential:
    """The credential of the requests below `route`.

    `status` is about all routes together: to lack the credential of one provider is no fault while
    another one serves.
    """

    route: str
    provider: str
    status: str
    state: CredentialState


async def credentials_of_routes(
    settings: Settings, claude: Account, chatgpt: Account
) -> list[RouteCredential]:
    """Return the credential of each route that the settings switch on."""
    state = await claude.describe()
    states = [("/api", "claude", state)]
    if settings.sdk.workers:
        obstacle = obstacle_for_program(settings.claude)
        of_program = (
            replace(state, status="fail", output=obstacle) if obstacle and state.source else state
        )
        states.append(("/sdk", "claude", of_program))
    if settings.codex.enabled:
        states.append(("/codex", "openai", await chatgpt.describe()))
    is_any_served = any(each.status == "pass" for _, _, each in states)
    return [
        RouteCredential(
            route, provider, "pass" if is_any_served and not each.source else each.status, each
        )
        for route, provider, each in states
    ]
