"""Seals that a model gives a client to keep: opaque, and void when a character of the sealed text
has changed.

The keys are constants, so that a conversation may go on after the simulator was restarted.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass

DIGEST = "sha256"
DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class Sealer:
    """The seals of a provider; seals of any other provider are refused."""

    key: bytes

    def seal(self, mark: str, covered: str = "") -> str:
        """`mark` is carried inside, `covered` travels beside the seal."""
        return base64.urlsafe_b64encode(
            self._digest(mark.encode(), covered) + mark.encode()
        ).decode()

    def open(self, sealed: str, covered: str = "") -> str | None:
        """Return the mark; None for a foreign seal or another content."""
        try:
            raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        # Digest and mark have no separator, because the digest has a fixed length.
        digest = raw[:DIGEST_BYTES]
        mark = raw[DIGEST_BYTES:]
        return mark.decode() if hmac.compare_digest(digest, self._digest(mark, covered)) else None

    def _digest(self, mark: bytes, covered: str) -> bytes:
        return hmac.digest(self.key, mark + b"\0" + covered.encode(), DIGEST)


THOUGHTS = Sealer(b"simulated thinking")  # Anthropic's signatures, over the text they sign
# OpenAI's encrypted reasoning, which names its item. A ChatGPT account and an API key are two
# organizations, and neither opens what the other has sealed.
REASONING = Sealer(b"simulated reasoning")
KEY_REASONING = Sealer(b"simulated reasoning of an API key")
