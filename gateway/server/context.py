"""The context of one request: what the outermost layer knows, for every layer inside.

The context travels in the ASGI scope under one key. Only `AccessLog` makes a context; the layers
inside read it through `context_of`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.capture.captures import Captures
from gateway.metering.token_ledger import TokenLedger
from gateway.server.asgi import Scope
from gateway.server.guard import Caller
from gateway.server.tracing import Trace
from shared.bus.channels import AccessRecord

KEY = "ccproxy"


@dataclass(slots=True)
class RequestContext:
    """The facts of one request.

    `headers` are the request's headers by lower-case name. `begin` reports the record of a request
    that has begun to watchers. `ledger` counts what tokens with limits spend. `reads_prompts` is
    true if the record gets a fingerprint of its prompt. `caller` is set once
    the guard has admitted the request. `endpoint` is the path pattern for the record; empty, the
    route's own pattern is used. `captures` keeps requests while the owner has switched that on;
    `repeats` is the captured request that this one sends again.
    """

    record: AccessRecord
    headers: dict[bytes, bytes]
    trace: Trace
    begin: Callable[[AccessRecord], None]
    ledger: TokenLedger
    caller: Caller | None = None
    endpoint: str = ""
    reads_prompts: bool = False
    captures: Captures | None = None
    repeats: str = ""

    @property
    def admitted(self) -> Caller:
        """Return the caller that the guard has admitted."""
        assert self.caller is not None
        return self.caller


def context_of(scope: Scope) -> RequestContext:
    """Return the context of the request with this ASGI scope."""
    context: RequestContext = scope[KEY]
    return context
