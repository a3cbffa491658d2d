"""The far end of Web Push: a browser's keys, and what its push service and the browser itself make
of a message.

Nothing here uses the product's own code: the signature is checked as RFC 8292 says, and the content
opened as RFC 8291 and RFC 8188 say, with bare hashes and the cipher.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.receivers import Received

DAY = 86_400


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class SubscribedBrowser:
    """A browser that has subscribed at the push service with the address `endpoint`."""

    def __init__(self, endpoint: str, private: bytes | None = None, auth: bytes = b"") -> None:
        self.endpoint = endpoint
        self.auth = auth or os.urandom(16)
        curve = ec.SECP256R1()
        self.key = (
            ec.generate_private_key(curve)
            if private is None
            else ec.derive_private_key(int.from_bytes(private, "big"), curve)
        )
        self.point = self.key.public_key().public_bytes(
            Encoding.X962, PublicFormat.UncompressedPoint
        )

    @property
    def subscription(self) -> dict[str, Any]:
        """Return what `PushSubscription.toJSON()` returns."""
        keys = {"p256dh": base64url(self.point), "auth": base64url(self.auth)}
        return {"endpoint": self.endpoint, "expirationTime": None, "keys": keys}

    @property
    def id(self) -> str:
        return hashlib.sha256(self.endpoint.encode()).hexdigest()[:32]

    def open(self, received: Received) -> dict[str, Any]:
        """Return the message in a request, decrypted."""
        assert received.headers["content-encoding"] == "aes128gcm"
        return json.loads(self.decrypt(received.body))

    def decrypt(self, body: bytes) -> bytes:
        salt, size, length = body[:16], int.from_bytes(body[16:20], "big"), body[20]
        sender, sealed = body[21 : 21 + length], body[21 + length :]
        assert len(sealed) <= size
        assert len(body) <= 4096
        shared = self.key.exchange(
            ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender)
        )
        binding = b"WebPush: info\0" + self.point + sender
        mixed = hkdf(self.auth, shared, binding, 32)
        key = hkdf(salt, mixed, b"Content-Encoding: aes128gcm\0", 16)
        nonce = hkdf(salt, mixed, b"Content-Encoding: nonce\0", 12)
        padded = AESGCM(key).decrypt(nonce, sealed, None)
        content, mark, padding = padded.rpartition(b"\x02")
        assert (mark, padding.strip(b"\0")) == (b"\x02", b"")
        return content


def hkdf(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869, for at most one block."""
    extracted = hmac.digest(salt, secret, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")[:length]


def claims_of(received: Received, sender: str, now: float) -> dict[str, Any]:
    """Return the claims of a message's signature, checked as a push service checks them. `sender`
    is the public key that the browser subscribed with.
    """
    scheme, _, rest = received.headers["authorization"].partition(" ")
    assert scheme == "vapid"
    fields = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert fields["k"] == sender
    head, claims, signature = fields["t"].split(".")
    assert json.loads(unpacked(head)) == {"alg": "ES256", "typ": "JWT"}
    raw = unpacked(signature)
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unpacked(sender))
    key.verify(
        encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")),
        f"{head}.{claims}".encode(),
        ec.ECDSA(SHA256()),
    )
    found: dict[str, Any] = json.loads(unpacked(claims))
    assert now < found["exp"] <= now + DAY
    return found
