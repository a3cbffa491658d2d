from __future__ import annotations

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.bus.connection import unavailable


@pytest.mark.parametrize(
    ("why", "words"),
    [
        (TimeoutError(), "(no answer in time)"),
        (RedisConnectionError("refused"), "(refused)"),
        (RedisConnectionError(), "(ConnectionError)"),
        ("it was never reached", "(it was never reached)"),
    ],
)
def test_the_reason_of_an_unreachable_redis_always_has_words(why: object, words: str) -> None:
    assert unavailable(why).message.endswith(words)
