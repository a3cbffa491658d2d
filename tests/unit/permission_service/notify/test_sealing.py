"""The content of a message is sealed as RFC 8291 shows it, and signed as RFC 8292 asks."""

from __future__ import annotations

import json

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from permission_service.notify.sealing import (
    CURVE,
    MAX_CONTENT_BYTES,
    RECORD_BYTES,
    SIGNED_SECONDS,
    SenderKey,
    check_receiver,
    from_text,
    new_sender_key,
    seal,
    seal_with,
)
from tests.support.push_service import SubscribedBrowser, base64url, claims_of, unpacked
from tests.support.receivers import Received

# The example of RFC 8291, section 5 and appendix A.
TEXT = b"When I grow up, I want to be a watermelon"
RECEIVER_KEY = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"
RECEIVER = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SENDER_KEY = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
SEALED = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6"
    "TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulc"
    "y4a-fN"
)
ENDPOINT = "https://push.example:8443/wp/abc?token=1"


def test_the_example_of_the_rfc_is_sealed_byte_for_byte() -> None:
    key = ec.derive_private_key(int.from_bytes(unpacked(SENDER_KEY), "big"), CURVE)
    assert base64url(seal_with(TEXT, RECEIVER, AUTH, key, unpacked(SALT))) == SEALED


def test_the_stand_in_browser_opens_the_example_of_the_rfc() -> None:
    browser = SubscribedBrowser("https://x", unpacked(RECEIVER_KEY), unpacked(AUTH))
    assert browser.subscription["keys"] == {"p256dh": RECEIVER, "auth": AUTH}
    assert browser.decrypt(unpacked(SEALED)) == TEXT


@pytest.mark.parametrize("content", [b"", b"\x02\x02", "grüße".encode(), b"x" * MAX_CONTENT_BYTES])
def test_only_the_subscribed_browser_opens_a_message(content: bytes) -> None:
    browser, stranger = SubscribedBrowser("https://x"), SubscribedBrowser("https://x")
    keys = browser.subscription["keys"]
    sealed = seal(content, keys["p256dh"], keys["auth"])
    assert len(sealed) <= RECORD_BYTES
    assert browser.decrypt(sealed) == content
    with pytest.raises(InvalidTag):
        stranger.decrypt(sealed)
    # No two messages share a key or a salt.
    assert seal(content, keys["p256dh"], keys["auth"])[:86] != sealed[:86]


def test_a_message_beyond_one_record_is_refused() -> None:
    with pytest.raises(ValueError, match="at most"):
        seal(b"x" * (MAX_CONTENT_BYTES + 1), RECEIVER, AUTH)


def test_the_signature_names_the_push_service_the_contact_and_an_end() -> None:
    sender = SenderKey(new_sender_key())
    header = sender.authorization(ENDPOINT, "mailto:me@example.org", 1_000_000.9)
    received = Received("/", {"authorization": header}, b"")
    assert claims_of(received, sender.public, 1_000_000) == {
        "aud": "https://push.example:8443",
        "exp": 1_000_000 + SIGNED_SECONDS,
        "sub": "mailto:me@example.org",
    }


def test_a_key_keeps_its_public_half_and_another_kind_of_key_is_refused() -> None:
    pem = new_sender_key()
    assert SenderKey(pem).public == SenderKey(pem).public
    assert len(from_text(SenderKey(pem).public)) == 65
    other = ec.generate_private_key(ec.SECP384R1())
    for wrong in (
        b"no key",
        other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - the libraries' own words differ
            SenderKey(wrong)


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [
        ("", AUTH),
        (RECEIVER[:-4], AUTH),
        ("A" * 87, AUTH),
        ("ä", AUTH),
        (RECEIVER, ""),
        (RECEIVER, AUTH + "AA"),
        (RECEIVER, "*" * 22),
        ("None", "None"),
    ],
)
def test_keys_that_are_no_browsers_are_refused(p256dh: str, auth: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the libraries' own words differ
        check_receiver(p256dh, auth)


def test_keys_of_a_browser_pass_with_and_without_padding() -> None:
    check_receiver(RECEIVER, AUTH)
    check_receiver(RECEIVER + "=", AUTH + "==")
    assert json.dumps(from_text(AUTH).hex()) == json.dumps(unpacked(AUTH).hex())
