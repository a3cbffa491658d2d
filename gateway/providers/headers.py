"""The caller's headers that go on to a provider: all headers about the caller, none about its
connection to us.
"""

from __future__ import annotations

from gateway.server.asgi import Headers
from shared.bus.channels import AccessRecord

# Hop-by-hop headers, the caller's credential, headers of the caller's connection, and the trace.
NOT_FORWARDED = frozenset(
    b"host connection keep-alive proxy-connection transfer-encoding te trailer upgrade "
    b"http2-settings content-length expect authorization x-api-key proxy-authorization cookie "
    b"accept-encoding origin referer forwarded via "
    b"x-real-ip x-request-id x-session-id traceparent tracestate baggage".split()
)
NOT_FORWARDED_PREFIXES = (b"x-forwarded-", b"sec-", b"access-control-", b"x-ccproxy-", b"cf-")


def forwarded(caller: dict[bytes, bytes]) -> dict[str, str]:
    """Return the caller's headers for the provider. The answer must come uncompressed, because
    usage is read from the answer's bytes.
    """
    per_hop = {token.strip().lower() for token in caller.get(b"connection", b"").split(b",")}
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in caller.items()
        if name not in NOT_FORWARDED
        and name not in per_hop
        and not name.startswith(NOT_FORWARDED_PREFIXES)
    }
    headers["accept-encoding"] = "identity"
    return headers


def note_upstream(record: AccessRecord, headers: Headers) -> None:
    """Note the provider's own id of a request."""
    for name, value in headers:
        if name == b"request-id":
            record.upstream_request_id = value.decode("latin-1")
