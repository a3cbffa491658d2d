"""Messages to browsers, sealed: the payload encrypted for one browser (RFC 8291, `aes128gcm`), and
the signature by which a push service knows the sender (RFC 8292, VAPID).

`cryptography` brings the curve, the key derivation and the cipher, PyJWT the signed token; this
module puts them in the order of the RFCs. It is imported at its first use: both libraries take
memory that a service without subscribed browsers does not need.

Invariant: the push service can read neither title nor text; each message has a key of its own.
"""

from __future__ import annotations

import base64
import binascii
import os
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

CURVE = ec.SECP256R1()  # P-256, the one curve of both RFCs
SECRET_BYTES = 16  # of a browser's `auth`
SALT_BYTES = 16
RECORD_BYTES = 4096  # the most that a push service must take (RFC 8030); one record holds all
# What encryption adds: salt, record size, key length, key, the mark of the last record, the tag.
OVERHEAD_BYTES = SALT_BYTES + 4 + 1 + 65 + 1 + 16
MAX_CONTENT_BYTES = RECORD_BYTES - OVERHEAD_BYTES
LAST_RECORD = b"\x02"  # RFC 8188: the delimiter behind the content of the last record
SIGNED_SECONDS = 12 * 3600  # a push service takes at most 24 hours


class SenderKey:
    """The sender's key for push services, from a PEM file. `public` is the public key in the form
    for browsers. Raises ValueError for a file without such a key.
    """

    def __init__(self, pem: bytes) -> None:
        key = load_pem_private_key(pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name != CURVE.name:
            raise ValueError("expected a private key of the curve P-256")
        self._key = key
        self.public = to_text(point_of(key.public_key()))

    def authorization(self, endpoint: str, contact: str, now: float) -> str:
        """Return the `Authorization` header for a message to `endpoint`. `contact` is a `mailto:`
        or `https:` address of the sender.
        """
        parts = urlsplit(endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int(now) + SIGNED_SECONDS,
            "sub": contact,
        }
        return f"vapid t={jwt.encode(claims, self._key, algorithm='ES256')}, k={self.public}"


def new_sender_key() -> bytes:
    """Return a new key as PEM."""
    key = ec.generate_private_key(CURVE)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def check_receiver(p256dh: str, auth: str) -> None:
    """Raise ValueError unless `p256dh` and `auth` are the keys of a browser's subscription."""
    ec.EllipticCurvePublicKey.from_encoded_point(CURVE, from_text(p256dh))
    if len(from_text(auth)) != SECRET_BYTES:
        raise ValueError(f"expected {SECRET_BYTES} bytes")


def seal(content: bytes, p256dh: str, auth: str) -> bytes:
    """Return `content`, encrypted for the browser with the keys `p256dh` and `auth`. Raises
    ValueError for content beyond MAX_CONTENT_BYTES, and for keys that are none.
    """
    if len(content) > MAX_CONTENT_BYTES:
        raise ValueError(f"expected at most {MAX_CONTENT_BYTES} bytes, not {len(content)}")
    # A key pair and a salt for this message alone: none may be used twice.
    return seal_with(content, p256dh, auth, ec.generate_private_key(CURVE), os.urandom(SALT_BYTES))


def seal_with(
    content: bytes, p256dh: str, auth: str, key: ec.EllipticCurvePrivateKey, salt: bytes
) -> bytes:
    """Return `content` as one record of `aes128gcm`, encrypted with the message's own `key` and
    `salt`.
    """
    receiver = ec.EllipticCurvePublicKey.from_encoded_point(CURVE, from_text(p256dh))
    sender_point = point_of(key.public_key())
    # RFC 8291, section 3.4: the shared secret of both keys, mixed with the browser's own secret and
    # bound to both public keys.
    binding = b"WebPush: info\0" + point_of(receiver) + sender_point
    shared = derived(key.exchange(ec.ECDH(), receiver), from_text(auth), binding, 32)
    # RFC 8188: the key and the nonce of the content come from that secret and the salt.
    content_key = derived(shared, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = derived(shared, salt, b"Content-Encoding: nonce\0", 12)
    sealed = AESGCM(content_key).encrypt(nonce, content + LAST_RECORD, None)
    head = salt + RECORD_BYTES.to_bytes(4, "big") + bytes([len(sender_point)]) + sender_point
    return head + sealed


def derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """Return `length` bytes from `secret` by HKDF with SHA-256."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return a public key as 65 bytes."""
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def to_text(data: bytes) -> str:
    """Return `data` in base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def from_text(text: str) -> bytes:
    """Return the bytes of base64url, with or without padding. Raises ValueError."""
    try:
        unpadded = text.rstrip("=").encode("ascii")
        return base64.b64decode(unpadded + b"=" * (-len(unpadded) % 4), b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError("expected base64url") from None
