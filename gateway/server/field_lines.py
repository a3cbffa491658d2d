"""The header lines of a request as one value for each name.

Lines of one name are one list in several pieces (RFC 9110, 5.3), as Go's clients and nginx send
them, so they are joined with a comma. A header that has one value by its definition cannot come
twice with two values: no reader could know which value counts.
"""

from __future__ import annotations

from gateway.server.asgi import Headers
from shared.runtime.errors import ClientError

SINGLE = frozenset(
    b"host authorization proxy-authorization x-api-key content-type content-length user-agent "
    b"origin referer expect sec-fetch-site sec-fetch-mode sec-fetch-dest x-request-id "
    b"x-session-id session-id session_id x-claude-code-session-id x-claude-code-agent-id "
    b"x-claude-code-parent-agent-id anthropic-version "
    b"chatgpt-account-id originator mcp-session-id x-ccproxy-cwd x-ccproxy-caller "
    b"last-event-id".split()
)


def joined(lines: Headers) -> dict[bytes, bytes]:
    """Return `lines` by name. Raises ClientError for two different values of a single-valued
    header.
    """
    values: dict[bytes, bytes] = {}
    for name, value in lines:
        if name not in values:
            values[name] = value
        elif name not in SINGLE:
            separator = b"; " if name == b"cookie" else b", "
            values[name] = values[name] + separator + value
        elif values[name] != value:
            raise ClientError(
                f"The header {name.decode('latin-1')!r} comes twice with different values; send it "
                "once."
            )
    return values
