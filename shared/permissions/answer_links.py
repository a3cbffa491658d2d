"""One-time links that answer a permission request: the address, the secret in it, and the digest
under which the permission service knows the secret.

Invariant: the secret is in the message to the owner's phone and in the request of the phone,
nowhere else. The bus, Redis, records and logs have its digest, or nothing.
"""

from __future__ import annotations

import hashlib
import re
import secrets

ANSWER_PATH = "/permissions/answer/"
ANSWER_LINK = re.compile(rf"{ANSWER_PATH}[A-Za-z0-9_-]{{43}}")
ANSWER_PATTERN = f"{ANSWER_PATH}{{token}}"  # shown in place of an address with a secret
TOKEN_BYTES = 32  # guessing one of 2^256 is hopeless, so wrong links need no limit of their own


def new_link_token() -> str:
    """Return a new secret of a link: 43 characters."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def link_digest(token: str) -> str:
    """Return the SHA-256 of a link's secret in hex. The secret is random, so it needs no salt."""
    return hashlib.sha256(token.encode()).hexdigest()
