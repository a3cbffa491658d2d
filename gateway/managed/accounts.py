"""The turns of managed sessions among all other requests: who may begin one, and what it counts as.

A turn begins when the client that asked for it may be gone, so its caller is looked up anew: a
token that was revoked, or whose limits have changed, counts as it is now.
"""

from __future__ import annotations

from gateway.metering.records import Records
from gateway.metering.token_ledger import TokenLedger
from gateway.server.guard import Caller, as_caller
from gateway.server.known_tokens import EVERYTHING, KnownTokens
from shared.bus.channels import AccessRecord
from shared.permissions.deciders import BY_OWNER
from shared.runtime.errors import NotAllowed
from shared.runtime.metrics import Metrics


class TokenAccounts:
    """The accounts of this gateway, for turns."""

    def __init__(
        self, tokens: KnownTokens, ledger: TokenLedger, metrics: Metrics, records: Records | None
    ) -> None:
        self._tokens = tokens
        self._ledger = ledger
        self._metrics = metrics
        self._records = records

    def caller_of(self, name: str) -> Caller:
        """Return the caller with the token `name`, with the token's present rights. Raises
        NotAllowed for a removed token or a token no longer allowed to run agents, NotAuthorized for
        an expired token.
        """
        if name in {"", BY_OWNER}:
            return Caller(name, EVERYTHING)
        token = next((each for each in self._tokens.all() if each.name == name), None)
        if token is None or "agent" not in token.scopes:
            raise NotAllowed(f"The token {name!r} may not run agents any more.")
        return as_caller(token, "POST", "/sdk/v1/sessions")

    async def admit(self, caller: Caller, record: AccessRecord) -> None:
        """Let the turn of `record` begin. Raises SpendLimitReached, Busy."""
        await self._ledger.admit(caller, record)
        if self._records is not None:
            self._records.begin(record)

    def close(self, caller: Caller | None, record: AccessRecord) -> None:
        """Count, measure and keep the record of an ended turn."""
        self._metrics.observe(record)
        if caller is not None:
            self._ledger.count(caller, record)
        if record.model and self._tokens.has_shares:
            self._ledger.count_for_shares(record)
        if self._records is not None:
            self._records.add(record)
