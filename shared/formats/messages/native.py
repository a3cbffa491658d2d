"""A native Messages request for Anthropic: as it came, but for what this gateway itself put into
the conversation.

A conversation begun on another vendor's model carries that vendor's reasoning in the signature's
place, and searches it ran. Anthropic can verify neither and refuses the request, for ever.
Everything else stays untouched.
"""

from __future__ import annotations

from typing import Any

from shared.formats.envelope import MARK, OWN_SEARCH, PREFIX
from shared.formats.ir import Json
from shared.formats.written import Written

MARK_BYTES = MARK.encode()
"""A body without these bytes holds nothing of ours and need not be read."""


def without_own_marks(body: Json) -> Written:
    """Return the request without our envelopes and searches, and their paths; the same object if
    there are none.

    A message of which nothing is left goes as a whole: the service refuses an empty one.
    """
    messages = body.get("messages")
    if not isinstance(messages, list):
        return Written(body, ())
    dropped: dict[str, None] = {}
    kept = [cleaned for message in messages if (cleaned := _message(message, dropped)) is not None]
    return Written(body | {"messages": kept}, tuple(dropped)) if dropped else Written(body, ())


def _message(message: Any, dropped: dict[str, None]) -> Any:
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    kept = [block for block in content if not _is_ours(block)]
    if len(kept) == len(content):
        return message
    dropped.update(
        {f"messages[].content[].{block['type']}": None for block in content if _is_ours(block)}
    )
    return message | {"content": kept} if kept else None


def _is_ours(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    match block.get("type"):
        case "thinking":
            return str(block.get("signature")).startswith(PREFIX)
        case "redacted_thinking":
            return str(block.get("data")).startswith(PREFIX)
        case "server_tool_use":
            return str(block.get("id")).startswith(OWN_SEARCH)
        case "web_search_tool_result":
            return str(block.get("tool_use_id")).startswith(OWN_SEARCH)
    return False
