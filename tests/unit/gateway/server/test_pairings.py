"""A pairing holds for one browser, one token and five minutes."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.server.pairings import PAIRING_SECONDS, Pairings
from gateway.server.signed_in import Token

PHONE = Token("phone", b"key", frozenset({"approve"}), "digest-of-phone", expires_at=1_000.0)
OTHER = Token("other", b"key", frozenset({"approve"}), "digest-of-other")


class Memory:
    """Redis, as far as a pairing needs it."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.lifetimes: list[float] = []

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        self.values[key] = value
        self.lifetimes.append(ttl)

    async def run_script(self, script: str, keys: Sequence[str], *arguments: object) -> object:
        return self.values.pop(keys[0], None)


async def test_a_pairing_signs_in_its_own_token_once() -> None:
    memory = Memory()
    pairings = Pairings(memory, lambda: [OTHER, PHONE])
    secret = await pairings.offer(PHONE)
    assert memory.lifetimes == [PAIRING_SECONDS]
    assert await pairings.redeem("x" + secret[1:], now=0) is None
    assert await pairings.redeem(secret, now=0) == PHONE
    assert await pairings.redeem(secret, now=0) is None


async def test_redis_sees_neither_the_secret_nor_the_token() -> None:
    memory = Memory()
    secret = await Pairings(memory, lambda: [PHONE]).offer(PHONE)
    assert secret not in str(memory.values)
    assert list(memory.values.values()) == [b"digest-of-phone"]


async def test_a_replaced_or_expired_token_has_no_pairing_left() -> None:
    memory = Memory()
    gone = Pairings(memory, lambda: [OTHER])
    assert await gone.redeem(await gone.offer(PHONE), now=0) is None
    late = Pairings(memory, lambda: [PHONE])
    assert await late.redeem(await late.offer(PHONE), now=1_000.0) is None
