"""No secret of the corpus is left in a body, wherever it stands, and all else stays as it was."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.captures.patterns import MARK_START
from shared.captures.redaction import Redacted, redact, redact_text
from tests.support.secret_corpus import corpus, escaped, in_json, in_pieces, private_key

CORPUS = corpus()
SECRET = CORPUS[0][1]
HOSTILE = st.sampled_from(
    [
        *(
            '"',
            "\\",
            "\\\\",
            "\\u0041",
            "'",
            "\n",
            ": ",
            "=",
            "{",
            "}",
            ",",
            "password",
            "API_KEY=",
        ),
        *('"password":"', 'token: "', "Bearer ", "Cookie: a=b", "https://u:", "@", "[removed:x]"),
        *("-----BEGIN " + "PRIVATE KEY-----", "--token ", '"auth":"', "ünïcode", "data: "),
        *(text for text, _ in CORPUS[:8]),
    ]
)
TEXTS = st.lists(HOSTILE, max_size=8).map("".join)
DOCUMENTS = st.recursive(
    TEXTS | st.none() | st.integers(0, 9),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


def cleaned(text: str, **options: Any) -> str:
    return redact(text.encode(), **options).body.decode()


def left_in(written: Callable[[str], str]) -> list[tuple[str, str]]:
    """Return the texts of the corpus whose secret is in what `written` makes of them, or that have
    no mark there, with what it makes.
    """
    made = [(text, secret, written(text)) for text, secret in CORPUS]
    return [
        (text, found) for text, secret, found in made if secret in found or MARK_START not in found
    ]


def stream_of(pieces: list[str], kind: str) -> str:
    """Return a stream of events that spell out the pieces, in one of three vendors' forms."""
    events = []
    for piece in pieces:
        event: dict[str, Any] = {
            "messages": {
                "type": "content_block_delta",
                "index": 1,
                "delta": {"type": "input_json_delta", "partial_json": piece},
            },
            "chat": {
                "id": "chatcmpl-1",
                "choices": [
                    {
                        "index": 0,
                        "delta": {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]},
                    }
                ],
            },
            "responses": {
                "type": "response.output_text.delta",
                "item_id": "msg_1",
                "output_index": 0,
                "delta": piece,
            },
        }[kind]
        events.append(f"event: x\ndata: {json.dumps(event)}\n\n")
    return "".join(events)


def spelled(stream: str, kind: str) -> str:
    """Return the text that a stream of `stream_of` spells out."""
    found = ""
    for line in stream.splitlines():
        if line.startswith("data: "):
            event = json.loads(line.removeprefix("data: "))
            if kind == "messages":
                found += event["delta"]["partial_json"]
            elif kind == "chat":
                call = event["choices"][0]["delta"]["tool_calls"][0]
                found += call["function"]["arguments"]
            else:
                found += event["delta"]
    return found


def test_a_secret_is_removed_from_plain_text() -> None:
    assert left_in(lambda text: cleaned(f"Before.\n{text}\nAfter.")) == []


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_secret_is_removed_from_json_in_json(depth: int) -> None:
    def told(text: str) -> str:
        found = cleaned(in_json(f"first line\n{text}\nlast", depth))
        for _ in range(depth):
            found = json.loads(found)["content"]
        assert found.startswith("first line\n")
        return found

    assert left_in(told) == []


def test_a_secret_that_is_spelled_with_escapes_is_removed() -> None:
    assert left_in(lambda text: json.loads(cleaned(escaped(text)))["content"]) == []


@pytest.mark.parametrize("kind", ["messages", "chat", "responses"])
@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_secret_that_arrives_in_pieces_is_removed(kind: str, size: int) -> None:
    def told(text: str) -> str:
        stream = stream_of(list(in_pieces(f"so: {text} and on", size)), kind)
        found = spelled(cleaned(stream, is_stream=True), kind)
        assert found.startswith("so: ")
        return found

    assert left_in(told) == []


def test_a_tool_call_in_pieces_of_json_has_no_secret() -> None:
    def told(text: str) -> str:
        call = json.dumps({"command": f"run\n{text}"})
        stream = stream_of(list(in_pieces(call, 5)), "messages")
        return str(json.loads(spelled(cleaned(stream, is_stream=True), "messages"))["command"])

    assert left_in(told) == []


def test_two_calls_that_arrive_in_turns_are_read_apart() -> None:
    pieces = [
        list(in_pieces(f"x {SECRET} y", 4)),
        list(in_pieces("a long enough other text " * 5, 4)),
    ]
    stream = ""
    for first, second in zip(*pieces, strict=False):
        calls = [
            {"index": number, "function": {"arguments": piece}}
            for number, piece in enumerate((first, second))
        ]
        stream += f"data: {json.dumps({'choices': [{'index': 0, 'delta': {'tool_calls': calls}}]})}\r\n\r\n"
    found = cleaned(stream, is_stream=True)
    events = [json.loads(line[6:]) for line in found.splitlines() if line]
    told = "".join(
        event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] for event in events
    )
    assert SECRET[: len(told)] not in told
    assert MARK_START in told


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\r\r"])
def test_every_line_end_of_a_stream_is_read(end: str) -> None:
    stream = "".join(f"data: {json.dumps({'delta': piece})}{end}" for piece in in_pieces(SECRET, 6))
    assert all(piece not in cleaned(stream, is_stream=True) for piece in in_pieces(SECRET[12:], 6))


def test_the_last_word_of_a_cut_body_is_removed() -> None:
    whole = json.dumps({"content": f"my key is {SECRET}"})
    for length in range(whole.index(SECRET) + 2, len(whole)):
        assert SECRET[:6] not in cleaned(whole[:length], is_cut=True) or length < 26


def test_a_cut_body_is_read_below_its_surface_to_its_end() -> None:
    cut = json.dumps({"content": "one\nDB_" + "PASSWORD=hidden12 three"})[:-12]
    assert "hidden12" not in cleaned(cut + " and", is_cut=True)


def test_a_known_credential_is_removed_wherever_it_stands() -> None:
    known = "a plain phrase of the owner"
    body = json.dumps({"text": f"He wrote\n{known}."})
    assert known not in cleaned(body, known=[known, "short"])
    assert "short" in cleaned('{"text":"short"}', known=[known, "short"])


def test_a_file_in_base64_becomes_its_size() -> None:
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "iVBO" * 3000},
    }
    found = redact(json.dumps(image).encode())
    assert json.loads(found.body)["source"]["data"] == "[removed:base64:9000 bytes]"
    assert found.removed == {"base64": 1}


def test_opaque_texts_that_a_client_must_repeat_stay() -> None:
    opaque = "AbCd" * 600
    for document in (
        {"type": "thinking", "signature": opaque},
        {"type": "redacted_thinking", "data": opaque},
        {"type": "reasoning", "encrypted_content": opaque},
    ):
        assert cleaned(json.dumps(document)) == json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        '{"model":"claude-sonnet-5","max_tokens":1024,"stream":true,"tool_choice":{"type":"auto"}}',
        '{"usage":{"input_tokens":12,"output_tokens":7,"cache_read_input_tokens":0}}',
        '{"messages":[{"role":"user","content":"How do I keep a password safe? Basic rules."}]}',
        '{"tools":[{"name":"sign_in","input_schema":{"properties":{"password":{"type":"string"}}}}]}',
        '{"prompt_cache_key":"0f3a","metadata":{"session_id":"a-session-of-mine-1234567890"}}',
        '["password=",null,"x"]',
        '["authorization:", null, {"a":1}]',
        '["--token ",null,"b"]',
        '{"text":"a task-1234567890123456 and desk-lamps-and-more-things"}',
    ],
)
def test_a_text_without_a_secret_stays_byte_for_byte(text: str) -> None:
    assert cleaned(text) == text


@given(DOCUMENTS)
def test_json_stays_json_of_the_same_shape(document: Any) -> None:
    for whole in (json.dumps(document), json.dumps(document, ensure_ascii=False)):
        found = json.loads(cleaned(whole))
        assert shape(found) == shape(document)


def shape(value: Any) -> Any:
    """Return a document without its texts; names of members may hold secrets too."""
    if isinstance(value, dict):
        return sorted(map(repr, (shape(each) for each in value.values())))[:1]
    if isinstance(value, list):
        return [shape(each) for each in value]
    return type(value)


@given(st.lists(TEXTS, max_size=6))
def test_a_stream_keeps_its_events(pieces: list[str]) -> None:
    stream = stream_of(pieces, "messages")
    found = cleaned(stream, is_stream=True)
    assert len(re.findall("^data: ", found, re.MULTILINE)) == len(pieces)
    spelled(found, "messages")  # every event is still JSON


@given(DOCUMENTS)
def test_a_second_removal_changes_nothing(document: Any) -> None:
    once = cleaned(json.dumps(document))
    assert cleaned(once) == once


def test_places_of_chunks_move_with_the_removed_parts() -> None:
    body = f"ab {SECRET} cd".encode()
    found = redact(body)
    mark = b"[removed:anthropic_key]"
    assert found.body == b"ab " + mark + b" cd"
    assert found.moved(0) == 0
    assert found.moved(2) == 2
    inside = found.moved(body.index(b" cd") - 5)
    assert inside == 3 + len(mark)
    assert found.moved(len(body)) == len(found.body)
    assert found.moved(len(body) - 1) == len(found.body) - 1


def test_a_body_of_nothing_but_names_of_secrets_takes_linear_time() -> None:
    def seconds(count: int) -> float:
        body = ("password=" * count).encode()
        begun = time.process_time()
        redact(body)
        return time.process_time() - begun

    seconds(100)
    assert seconds(40_000) < 40 * max(seconds(4_000), 0.01)


def test_a_header_is_cleaned_like_a_body() -> None:
    assert SECRET not in redact_text(f"tool/1 {SECRET}")
    assert redact_text("tool/1") == "tool/1"


def test_a_private_key_that_breaks_off_is_removed() -> None:
    text = private_key()[:400]
    assert text[60:90] not in cleaned(text)


def test_the_removed_parts_are_counted_by_kind() -> None:
    found: Redacted = redact(f"{SECRET} {SECRET} DB_".encode() + b"PASSWORD=abcdef12")
    assert found.removed["anthropic_key"] == 2
    assert sum(found.removed.values()) == 3
