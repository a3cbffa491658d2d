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
from shared.settings.providers import WhenUsedUpSettings
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
    """Return the credential of every route switched on in the settings."""
    state = await claude.describe()
    states = [("/api", "claude", in_order(state, "CLAUDE", settings.claude.when_used_up))]
    if settings.sdk.workers:
        obstacle = obstacle_for_program(settings.claude)
        of_program = (
            replace(state, status="fail", output=obstacle) if obstacle and state.source else state
        )
        if settings.claude.when_used_up.is_armed and state.source:
            words = "CLAUDE__WHEN_USED_UP does not pay here"
            of_program = replace(of_program, output=f"{of_program.output}; {words}")
        states.append(("/sdk", "claude", of_program))
    if settings.codex.enabled:
        spare = settings.codex.when_used_up
        states.append(("/codex", "openai", in_order(await chatgpt.describe(), "CODEX", spare)))
    is_any_served = any(each.status == "pass" for _, _, each in states)
    return [
        RouteCredential(
            route, provider, "pass" if is_any_served and not each.source else each.status, each
        )
        for route, provider, each in states
    ]


def in_order(state: CredentialState, name: str, spare: WhenUsedUpSettings) -> CredentialState:
    """Return `state` with the API key that pays after the credential, if the settings name a
    key.
    """
    if not spare.is_armed or not state.source:
        return state
    setting = f"{name}__WHEN_USED_UP__API_KEY"
    if state.billed_to == "api_key":
        return replace(state, output=f"{state.output}; {setting} is unused, because this is a key")
    words = f"while a window is used up, {setting}, at most ${spare.usd_per_day:.2f} a day"
    return replace(state, output=f"{state.output}; {words}")
