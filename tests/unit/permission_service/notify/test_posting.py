"""A POST ends with a status, or with a failure whose words hold no secret."""

from __future__ import annotations

import asyncio

import pytest

from permission_service.notify.posting import SendFailed, post_message
from tests.support.receivers import Receiver


async def test_a_success_is_the_status_of_the_receiver() -> None:
    with Receiver() as receiver:
        assert await post_message(f"{receiver.url}/x", b"{}", {"a": "b"}) == "HTTP 200"
        arrived = await asyncio.to_thread(receiver.next)
    assert (arrived.path, arrived.body, arrived.headers["a"]) == ("/x", b"{}", "b")


@pytest.mark.parametrize(
    ("status", "final"), [(403, True), (404, True), (429, False), (500, False), (307, True)]
)
async def test_a_refusal_says_if_another_attempt_may_help(status: int, final: bool) -> None:
    with Receiver(status) as receiver:
        with pytest.raises(SendFailed) as failed:
            await post_message(receiver.url, b"{}", {})
        # A redirection is not followed: it would take the message to another address.
        assert receiver.arrived.qsize() == 1
    assert (failed.value.problem, failed.value.final) == (f"HTTP {status}", final)


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/secret", "http://[secret/"])
async def test_no_failure_names_the_address(url: str) -> None:
    with pytest.raises(SendFailed) as failed:
        await post_message(url, b"{}", {})
    assert "secret" not in str(failed.value)
    assert failed.value.__cause__ is None
