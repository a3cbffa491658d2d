"""A gateway that restarts costs nothing: the stream goes on, an answer is given again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from ccproxy.cli.gateway import Unanswered
from ccproxy.cli.permissions.feed import EventFeed, FeedEvent
from shared.formats.sse import LIMIT

Handler = Callable[[httpx.Request], httpx.Response]


def feed(*answers: httpx.Response | Exception) -> tuple[EventFeed, list[httpx.Request]]:
    """A feed whose gateway gives these answers, one after the other."""
    asked: list[httpx.Request] = []
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        following = left.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    return EventFeed(
        httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://gateway")
    ), asked


def refused(status: int, message: str) -> httpx.Response:
    return httpx.Response(status, json={"error": {"type": "x", "message": message}})


async def first(feed: EventFeed, count: int) -> list[FeedEvent]:
    found, events = [], feed.events()
    async for event in events:
        found.append(event)
        if len(found) == count:
            break
    await events.aclose()
    return found


STREAM = (
    'event: ping\ndata: {}\n\nid: 7\nevent: permission_request\ndata: {"request_id": "\u2028"}\n\n'
).encode()


async def test_events_are_read_and_the_stream_is_resumed_after_the_last() -> None:
    desk, asked = feed(
        httpx.Response(200, content=STREAM),
        httpx.ConnectError("refused"),
        httpx.Response(200, content=b""),
    )
    events = await first(desk, 6)
    assert [event.name for event in events] == [
        "connected",
        "ping",
        "permission_request",
        "lost",
        "lost",
        "connected",
    ]
    assert events[2].data == {"request_id": "\u2028"}
    assert events[4].data == {"why": "refused"}
    assert [request.headers.get("last-event-id") for request in asked] == [None, "7", "7"]


@pytest.mark.parametrize("line_end", ["\r\n", "\r"])
async def test_events_are_read_as_the_standard_allows_them_to_be_written(line_end: str) -> None:
    lines = [
        "\ufeff: hello",
        "",
        "id:8",
        "data:{",
        'data:"a": 1}',
        "event:asked",
        "",
        "id: 9",
        "data: {}",
        "",
    ]
    desk, asked = feed(
        httpx.Response(200, content=line_end.join([*lines, ""]).encode()),
        httpx.Response(200, content=b""),
    )
    events = await first(desk, 5)
    assert events[1] == FeedEvent("asked", {"a": 1})
    assert [event.name for event in events] == ["connected", "asked", "", "lost", "connected"]
    assert asked[1].headers["last-event-id"] == "9"


async def test_the_feed_ends_with_a_sentence_when_an_event_is_too_large() -> None:
    desk, _ = feed(httpx.Response(200, content=b"data: " + b"x" * LIMIT + b"\n\n"))
    with pytest.raises(Unanswered, match="more than 16,777,216 bytes"):
        await first(desk, 2)


async def test_a_refusal_ends_the_feed_with_the_gateways_words() -> None:
    desk, _ = feed(refused(403, "lacks the scope"))
    with pytest.raises(Unanswered, match="lacks the scope"):
        await first(desk, 1)


async def test_the_gateways_clock_counts() -> None:
    desk, _ = feed(
        httpx.Response(200, content=b"", headers={"date": "Thu, 01 Jan 1970 00:16:40 GMT"})
    )
    await first(desk, 1)
    assert 999 < desk.now() < 1010


async def answer(desk: EventFeed) -> Any:
    return await desk.answer("a", {"allowed": True})


async def test_an_answer_is_given_again_while_the_gateway_or_the_desk_restarts() -> None:
    desk, asked = feed(
        httpx.ConnectError("x"),
        refused(503, "no desk"),
        httpx.Response(200, json={"remembered": "allow Bash"}),
    )
    told = await answer(desk)
    assert (told.counts, told.words, len(asked)) == (True, "allow Bash", 3)


@pytest.mark.parametrize("status", [404, 409])
async def test_an_answer_that_comes_too_late_is_told_so(status: int) -> None:
    desk, _ = feed(refused(status, "Too late"))
    told = await answer(desk)
    assert (told.counts, told.words) == (False, "Too late")


async def test_an_answer_that_is_wrong_is_not_tried_again() -> None:
    desk, asked = feed(refused(400, "answers are needed"))
    with pytest.raises(Unanswered, match="answers are needed"):
        await answer(desk)
    assert len(asked) == 1
