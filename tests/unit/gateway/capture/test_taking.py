"""A request while it is captured: both sides, within limits, and clean once it is over."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

from gateway.capture.taking import Passing, Room, Taking, as_part, header_secrets
from shared.bus.channels import AccessRecord
from tests.support.secret_corpus import by_vendor, corpus

SECRET = by_vendor()["openai"]
JSON = (b"content-type", b"application/json")


def taking(limit: int = 10_000, room: Room | None = None) -> Taking:
    record = AccessRecord("req_1", 5.0, path="/api/v1/messages", caller="laptop", query="a=1")
    return Taking(record, room or Room(1_000_000), limit)


async def send(_: Any) -> None: ...


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def replied(taken: Taking, *pieces: bytes, kind: bytes = b"application/json") -> None:
    watched = taken.watch_reply(send)
    head = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]}
    await watched(head)
    for piece in pieces:
        await watched({"type": "http.response.body", "body": piece, "more_body": True})
    await watched({"type": "http.response.body", "body": b"", "more_body": False})
    taken.end()


async def test_all_four_messages_are_kept_with_their_pieces() -> None:
    taken = taking()
    taken.note_request(dict([JSON]), b'{"a":1}')
    taken.note_sent("POST", "https://example.test/v1/messages", {"accept": "x"}, b'{"a":2}')
    watched = taken.watch_answer(200, [JSON], chunks(b"one ", b"two"))
    assert [piece async for piece in watched] == [b"one ", b"two"]
    await replied(taken, b"one two")
    found = taken.captured()
    assert found.request.body == '{"a":1}'
    assert found.sent is not None
    assert (found.sent.body, found.sent.address) == ('{"a":2}', "https://example.test/v1/messages")
    assert found.answer is not None
    assert found.answer.body == "one two"
    assert [end for end, _ in found.answer.chunks] == [4, 7]
    assert found.answer.is_whole
    assert found.reply is not None
    assert found.reply.is_whole
    assert found.summary.caller == "laptop"


async def test_an_answer_that_breaks_off_is_told() -> None:
    taken = taking()
    taken.note_request({}, b"")
    watched = taken.watch_answer(200, [JSON], chunks(b"one ", b"two"))
    assert await anext(watched) == b"one "
    await watched.aclose()
    taken.end()
    found = taken.captured()
    assert found.answer is not None
    assert not found.answer.is_whole
    assert found.reply is None


async def test_no_secret_of_the_corpus_is_in_a_capture() -> None:
    for text, secret in corpus():
        taken = taking()
        taken.record.session_id = text
        taken.record.error_kind = text
        taken.note_request({b"user-agent": text.encode()}, json.dumps({"t": text}).encode())
        taken.note_sent("POST", f"https://example.test/?{text}", {"anthropic-x": text}, None)
        pieces = [
            f"data: {json.dumps({'delta': text[at : at + 9]})}\n\n".encode()
            for at in range(0, len(text), 9)
        ]
        await replied(taken, *pieces, kind=b"text/event-stream")
        found = repr(taken.captured())
        assert secret not in found, text


async def test_the_caller_s_credential_is_removed_from_the_bodies_too() -> None:
    plain = "a pass phrase without any form"
    headers = {
        b"authorization": f"Bearer {plain.replace(' ', '-')}".encode(),
        b"x-api-key": b"key-of-mine",
    }
    taken = taking()
    taken.note_request(
        headers, json.dumps({"t": f"{plain.replace(' ', '-')} key-of-mine"}).encode()
    )
    taken.end()
    found = taken.captured()
    assert found.request.body == '{"t": "[removed:credential] [removed:credential]"}'
    assert ["x-api-key", "[removed:credential]"] in found.request.headers


def test_a_header_s_secrets_are_its_token_its_values_and_its_password() -> None:
    encoded = base64.b64encode(b"app:the-password").decode()
    assert header_secrets("authorization", "Bearer abc") == ["abc"]
    assert "the-password" in header_secrets("authorization", f"Basic {encoded}")
    assert header_secrets("authorization", "Basic ???") == ["???"]
    assert header_secrets("cookie", "a=one; b=two") == ["one", "two"]


async def test_a_long_body_is_cut_and_the_cut_is_told() -> None:
    taken = taking(limit=100)
    taken.note_request({}, b'{"text":"' + "ü".encode() * 100 + b'"}')
    await replied(taken, b"x" * 60, b"y" * 60, b"z")
    found = taken.captured()
    assert found.request.is_cut
    assert found.request.size == 211
    assert len(found.request.body.encode()) <= 200
    assert found.reply is not None
    assert found.reply.is_cut
    assert found.reply.size == 121
    assert "z" not in found.reply.body


async def test_memory_is_bounded_and_given_back() -> None:
    room = Room(50)
    first, second = taking(room=room), taking(room=room)
    first.note_request({}, b"a" * 40)
    second.note_request({}, b"b" * 40)
    assert room.left == 0
    assert second.captured().request.is_cut
    first.drop()
    first.drop()
    assert room.left == 40
    second.drop()
    assert room.left == 50


async def test_a_second_attempt_replaces_the_first() -> None:
    room = Room(1000)
    taken = taking(room=room)
    taken.note_sent("POST", "a", {}, b"first")
    assert [piece async for piece in taken.watch_answer(401, [], chunks(b"no"))] == [b"no"]
    taken.note_sent("POST", "a", {}, b"second")
    assert [piece async for piece in taken.watch_answer(200, [], chunks(b"yes"))] == [b"yes"]
    taken.end()
    found = taken.captured()
    assert found.sent is not None
    assert found.answer is not None
    assert (found.sent.body, found.answer.body, found.answer.status) == ("second", "yes", 200)
    assert room.left == 1000 - len(b"secondyes")


def test_a_body_that_is_no_text_is_left_out_with_its_size() -> None:
    def part(body: bytes, *headers: tuple[str, str]) -> Any:
        passing = Passing(Room(1000), 1000, headers=list(headers))
        passing.add(body)
        return as_part(passing, [], {})

    assert part(b"\x89PNG\0").left_out == "It is no text."
    assert part(b"a\0b").left_out == "It is no text."
    packed = part(b"abc", ("content-encoding", "br"))
    assert (packed.left_out, packed.body, packed.size) == ("It is encoded (br).", "", 3)
    assert part("ü".encode()).body == "ü"


async def test_an_upload_s_body_is_left_out() -> None:
    taken = taking()
    taken.note_request({}, b"", is_upload=True)
    taken.note_sent("POST", "a", {}, None)
    taken.end()
    found = taken.captured()
    assert found.request.left_out == "It was passed on in pieces."
    assert found.sent is not None
    assert found.sent.left_out
