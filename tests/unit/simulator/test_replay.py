"""Captured answers in their pieces, to the requests that got them, in a fixed order."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from shared.captures.bundle import write_bundle
from shared.captures.capture import Capture, Part, Summary
from simulator.exchange import SimulatedExchange
from simulator.process import read_replay
from simulator.replay import Replay, played_places
from tests.support.secret_corpus import by_vendor

ADDRESS = "https://example.test/v1/messages"
HEADERS = [["content-type", "text/event-stream"], ["content-length", "99"], ["request-id", "r"]]


def capture(body: str, answer: Part | None) -> Capture:
    sent = Part(method="POST", address=ADDRESS, body=body)
    return Capture(Summary("req_1", 1.0), Part(body=body), sent, answer)


def answered(text: str, *ends: int, **facts: Any) -> Part:
    return Part(HEADERS, text, status=200, chunks=[[end, 0.0] for end in ends], **facts)


async def others(exchange: SimulatedExchange) -> None:
    await exchange.send(404, b"others", {})


async def played(replay: Replay, body: str = "", path: str = "/v1/messages") -> list[Any]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing to hear")

    scope = {"method": "POST", "path": path, "query_string": b"", "headers": []}
    exchange = SimulatedExchange(scope, receive, send)
    exchange.record.body = body.encode()
    await replay(exchange)
    return sent


def pieces(sent: list[Any]) -> list[bytes]:
    return [each["body"] for each in sent if each.get("body")]


async def test_an_answer_has_its_status_headers_and_pieces() -> None:
    sent = await played(Replay([capture("", answered("one two three", 4, 8, 13))], others))
    assert sent[0]["status"] == 200
    assert sent[0]["headers"] == [(b"content-type", b"text/event-stream"), (b"request-id", b"r")]
    assert pieces(sent) == [b"one ", b"two ", b"three"]
    assert sent[-1]["more_body"] is False


async def test_a_whole_answer_has_its_length() -> None:
    sent = await played(Replay([capture("", answered("one", 3))], others))
    assert (b"content-length", b"3") in sent[0]["headers"]


async def test_an_answer_that_broke_off_breaks_off_again() -> None:
    sent = await played(Replay([capture("", answered("one two", 4, is_whole=False))], others))
    assert pieces(sent) == [b"one "]
    assert sent[-1]["more_body"] is True


async def test_a_request_without_an_answer_gets_none() -> None:
    assert await played(Replay([capture("", None)], others)) == []


async def test_a_request_gets_the_answer_of_its_own_body_else_the_next() -> None:
    replay = Replay([capture(name, answered(name, 1)) for name in "abc"], others)
    found = [pieces(await played(replay, body))[0] for body in ("b", "x", "a", "c")]
    # `x` takes the first one left; so `a`, whose own answer is gone, gets the next, and then the
    # first is played again.
    assert found == [b"b", b"a", b"c", b"c"]


async def test_a_body_is_known_again_with_its_secret() -> None:
    secret = by_vendor()["github"]
    captures = [
        capture("other", answered("1", 1)),
        capture("[removed:github_token]", answered("2", 1)),
    ]
    assert pieces(await played(Replay(captures, others), secret)) == [b"2"]


async def test_another_address_is_the_simulator_s_own() -> None:
    replay = Replay([capture("", answered("one", 3))], others)
    assert pieces(await played(replay, path="/v1/models")) == [b"others"]
    assert played_places([capture("", answered("one", 3))] * 2) == ["POST /v1/messages: 2"]


def test_a_file_that_is_no_bundle_is_refused_by_name(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_bytes(write_bundle([capture("", answered("one", 3))]))
    bad.write_text("{}")
    assert len(read_replay(str(good))) == 1
    for path in (bad, tmp_path / "missing.json"):
        with pytest.raises(argparse.ArgumentTypeError, match=path.name):
            read_replay(str(path))
