"""The tokens of agents' hooks among the named tokens of a stack: they can do nothing but ask.

Of a token the stack keeps only a hash, so the file of the access is also where a second
installation finds it.
"""

from __future__ import annotations

from ccproxy.cli.agent_hooks import AgentName
from ccproxy.cli.hook_access import access_file, read_access
from ccproxy.cli.owned_tokens import new_secret
from shared.accounts.tokens import StoredToken, TokenFile, token_digest
from shared.settings.security import Scope

SCOPES: tuple[Scope, ...] = ("ask",)


def token_name(agent: AgentName) -> str:
    return f"hooks-{agent}"


def known_token(agent: AgentName, tokens: TokenFile) -> str | None:
    """Return the token for the hooks of `agent` if the stack with the file `tokens` still knows it;
    None for a token that is to be made. Raises ConfigurationError, TokensUnusable.
    """
    access = read_access(agent)
    if access is None:
        return None
    digest = token_digest(access.token)
    is_known = any(
        stored.sha256 == digest and stored.scopes == SCOPES and stored.expires_at is None
        for stored in tokens.read()
    )
    return access.token if is_known else None


def make_token(agent: AgentName, tokens: TokenFile, now: float) -> str:
    """Return a new token that can only ask, in place of an earlier one. A running stack with the
    file `tokens` takes it at once. Raises TokensUnusable.
    """
    token = new_secret()
    name = token_name(agent)
    with tokens.changing() as known:
        known[:] = [stored for stored in known if stored.name != name]
        known.append(
            StoredToken(name=name, sha256=token_digest(token), scopes=SCOPES, created_at=now)
        )
    return token


def forget_token(agent: AgentName, tokens: TokenFile) -> bool:
    """Remove the token for the hooks of `agent`, and the access. Return True if there was a token.
    Raises TokensUnusable.
    """
    access_file(agent).unlink(missing_ok=True)
    name = token_name(agent)
    if all(stored.name != name for stored in tokens.read()):
        return False
    with tokens.changing() as known:
        known[:] = [stored for stored in known if stored.name != name]
    return True
