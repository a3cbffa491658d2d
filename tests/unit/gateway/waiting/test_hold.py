from __future__ import annotations

import pytest

from gateway.waiting.hold import Hold, wished_seconds
from shared.runtime.errors import ClientError, SpendLimitReached


def test_a_header_counts_more_than_the_wish_of_the_token() -> None:
    assert wished_seconds({}, 60.0) == 60.0
    assert wished_seconds({b"x-ccproxy-hold": b"30m"}, 60.0) == 1800
    assert wished_seconds({b"x-ccproxy-hold": b"no"}, 60.0) == 0


def test_a_header_that_is_no_wish_is_refused_by_its_name() -> None:
    with pytest.raises(ClientError, match="x-ccproxy-hold: 'ever' is no wish to be held"):
        wished_seconds({b"x-ccproxy-hold": b"ever"}, 0.0)


async def test_a_request_is_admitted_once_after_as_many_refusals_as_come() -> None:
    answers: list[SpendLimitReached | None] = [SpendLimitReached(), None]

    async def admit() -> None:
        if refusal := answers.pop(0):
            raise refusal

    hold = Hold(60, admit)
    with pytest.raises(SpendLimitReached):
        await hold.admit()
    await hold.admit()
    await hold.admit()
    assert answers == []
