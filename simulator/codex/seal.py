"""Encrypted reasoning: opaque to clients, bound to its item's id, and void when anything of either changed.

The key is a constant, so that a conversation may go on after the simulator was restarted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

KEY = b"simulated reasoning"
PREFIX = b"gAAAA-sim:"


def seal(item_id: str) -> str:
    mark = item_id.encode()
    return base64.urlsafe_b64encode(PREFIX + _digest(mark) + mark).decode()


def opens(sealed: str, item_id: str | None) -> bool:
    """Whether this was sealed here, for the item it comes back with (an item may come without its id)."""
    try:
        raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    at = len(PREFIX)
    digest, mark = raw[at : at + hashlib.sha256().digest_size], raw[at + hashlib.sha256().digest_size :]
    genuine = raw.startswith(PREFIX) and hmac.compare_digest(digest, _digest(mark))
    return genuine and item_id in {None, mark.decode(errors="replace")}


def _digest(mark: bytes) -> bytes:
    return hmac.digest(KEY, mark, "sha256")
