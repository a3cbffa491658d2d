"""Signatures of thinking blocks: opaque to clients, and void when a single character of the thinking changed.

The key is a constant, so that a conversation may go on after the simulator was restarted.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

KEY = b"simulated thinking"
SALT_BYTES = 8


def seal(thinking: str, salt: str) -> str:
    """A signature for `thinking`; the same `salt` gives the same signature again."""
    grain = hashlib.sha256(salt.encode()).digest()[:SALT_BYTES]
    return base64.b64encode(grain + _digest(grain, thinking)).decode()


def is_sealed(signature: str, thinking: str) -> bool:
    try:
        raw = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(raw[SALT_BYTES:], _digest(raw[:SALT_BYTES], thinking))


def _digest(grain: bytes, thinking: str) -> bytes:
    return hmac.digest(KEY, grain + thinking.encode(), "sha256")
