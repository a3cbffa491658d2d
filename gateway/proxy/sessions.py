"""The conversation of a request, in one order of names: what a caller says to any provider, then
what only the Responses format says, then a hash of the request's beginning.

Two functions follow this order, because their callers know different things. `session_named` runs
before the provider is chosen and returns "" for an unnamed conversation: records, `/sdk` and the
rule that a Codex program's own request stays untouched need to know that nobody named one.
`session_of` continues from its result for the Responses format, and always returns a key: the
provider finds its prompt cache by it, so the key is the same in every turn of a conversation.
"""

from __future__ import annotations

import re
from hashlib import sha256
from itertools import takewhile

from gateway.providers import Outgoing
from gateway.server.asgi import Scope
from shared.formats.ir import Json
from shared.runtime.exact_json import dump_json

SESSION_HEADERS = (b"session_id", b"session-id")
CLAUDE_CODE_HEADER = b"x-claude-code-session-id"
# A name that the backend accepts as a key, and that is valid in a header.
PLAIN = re.compile(r"[\x21-\x7e]{1,64}")


def session_named(scope: Scope, headers: dict[bytes, bytes], document: Json) -> str:
    """Return the conversation that the caller names to any provider, "" for none. The order: the
    address, `x-session-id`, Claude Code's own header, `metadata.session_id` of the body.
    """
    if named := scope.get("path_params", {}).get("session_id"):
        return str(named)
    if header := headers.get(b"x-session-id"):
        return header.decode("latin-1")
    if header := headers.get(CLAUDE_CODE_HEADER):
        return header.decode("latin-1")
    metadata = document.get("metadata")
    named = metadata.get("session_id") if isinstance(metadata, dict) else None
    return named if isinstance(named, str) else ""


def session_of(request: Outgoing, document: Json) -> str:
    """Return the cache key of a Responses request, 1 to 64 plain characters. The order: the name
    from `session_named`, `session_id` or `session-id`, the body's `prompt_cache_key`, a hash of the
    first turn. A name that cannot be a key is hashed.
    """
    named = (
        request.session,
        *(request.headers.get(header, b"").decode("latin-1") for header in SESSION_HEADERS),
        document.get("prompt_cache_key"),
    )
    name = next((name for name in named if isinstance(name, str) and name), "")
    if PLAIN.fullmatch(name):
        return name
    return (
        session_digest(name.encode("utf-8", "surrogatepass"))
        if name
        else session_digest(first_turn(request.record.caller, document))
    )


def first_turn(caller: str, document: Json) -> bytes:
    """Return the beginning of a conversation, up to the end of the user's first words; later turns
    leave the beginning unchanged.
    """
    items = document.get("input") or []
    items = items if isinstance(items, list) else [items]
    opening = list(takewhile(lambda item: not is_users(item), items))
    asked = list(takewhile(is_users, items[len(opening) :]))
    return dump_json([caller, document.get("instructions"), opening, asked])


def is_users(item: object) -> bool:
    return isinstance(item, dict) and item.get("role") == "user"


def session_digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:32]
