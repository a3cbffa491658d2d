"""A thousand odd bodies of each provider: refusals keep their status and words, whole replies pass
as they came.
"""

from __future__ import annotations

import json
import random
from functools import cache

import pytest

from gateway.providers.refusals import in_envelope
from gateway.proxy.beside import message_of
from gateway.proxy.messages_tap import note_whole_message
from gateway.proxy.native import parse_reply
from gateway.proxy.responses_tap import note_whole_response
from gateway.proxy.translated import parse_refusal_body, translated_refusal
from gateway.proxy.translation import Translation
from gateway.server.problems import Dialect, error_frame, render_error
from shared.formats.fields import inner_object, text_in
from shared.formats.registry import FORMATS, PROVIDER_FORMATS
from shared.formats.responses.settings import with_settings
from shared.runtime.errors import UpstreamRefused
from shared.runtime.exact_json import dump_json, load_json
from tests.contract.test_mutated_streams import SEED, can_be_kept, new_record
from tests.fuzz.mutations import mutate_body
from tests.fuzz.odd_streams import ERRORS, whole_reply
from tests.support.replies import PROMPT

BODIES = 1000
STATUSES = (400, 401, 403, 404, 413, 429, 500, 502, 503, 529)
BOTH = pytest.mark.parametrize("provider", PROVIDER_FORMATS)
NOTES = {"anthropic": note_whole_message, "openai_responses": note_whole_response}


@cache
def odd_errors(provider: str) -> list[tuple[int, bytes]]:
    """Return refusals as a status and a body."""
    made = []
    for number in range(BODIES):
        chance = random.Random(f"{SEED} errors of {provider} {number}")
        made.append((chance.choice(STATUSES), mutate_body(chance.choice(ERRORS[provider]), chance)))
    return made


def words_in(body: bytes) -> str:
    """Return the message of a refusal whose message is a text; "" for any other body."""
    try:
        document = load_json(body)
    except json.JSONDecodeError:
        return ""
    return text_in(inner_object(document, "error"), "message").strip()


def shown(client: str, body: bytes) -> str:
    """Return the message that a client of this format reads."""
    document = load_json(body)
    assert document["error"].keys() >= {"type", "message"}
    if client == "anthropic":
        assert document["type"] == "error"
    message = document["error"]["message"]
    assert isinstance(message, str)
    assert message
    return message


@BOTH
@pytest.mark.parametrize("client", FORMATS)
def test_an_odd_refusal_keeps_its_status_and_words_in_every_format(
    provider: str, client: str
) -> None:
    for number, (status, body) in enumerate(odd_errors(provider)):
        record = new_record()
        translation = Translation(
            FORMATS[client], PROVIDER_FORMATS[provider], PROMPT, record, "k3y", 7, {}
        )
        fail = PROVIDER_FORMATS[provider].read_error(parse_refusal_body(body), status)
        refused = translated_refusal(translation, fail, [(b"retry-after", b"5")])
        assert refused.status == status, f"error {number} of {provider}"
        assert words_in(body) in shown(client, refused.body), f"error {number} of {provider}"
        assert render_error(refused, dialect_of(client), "req_1").status == status
        assert error_frame(refused, dialect_of(client), "req_1").endswith(b"\n\n")
        can_be_kept(record)


def dialect_of(client: str) -> Dialect:
    dialects: dict[str, Dialect] = {
        name: name for name in ("anthropic", "openai_chat", "openai_responses")
    }
    return dialects[client]


def test_an_odd_refusal_of_the_chatgpt_backend_comes_in_the_public_envelope() -> None:
    for number, (status, body) in enumerate(odd_errors("openai_responses")):
        headers, enveloped = in_envelope(status, [(b"content-type", b"application/json")], body)
        document = load_json(enveloped)
        assert document["error"].keys() >= {"message", "type", "param", "code"}, f"error {number}"
        assert words_in(body).rstrip(".") in str(document["error"]["message"])
        waits = [int(value) for name, value in headers if name == b"retry-after"]
        assert all(1 <= seconds < 10**9 for seconds in waits)


@BOTH
def test_an_odd_refusal_that_passes_leaves_a_record(provider: str) -> None:
    for status, body in odd_errors(provider):
        record = new_record()
        record.status_code = status
        NOTES[provider](record, body)
        assert isinstance(message_of(PROVIDER_FORMATS[provider], body, status), str)
        for dialect in FORMATS:
            render_error(
                UpstreamRefused("refused", status=status, body=body), dialect_of(dialect), "req_1"
            )
        can_be_kept(record)


@BOTH
def test_an_odd_whole_reply_that_passes_leaves_a_record(provider: str) -> None:
    for number in range(BODIES):
        chance = random.Random(f"{SEED} replies of {provider} {number}")
        body = mutate_body(whole_reply(provider), chance)
        record = new_record()
        NOTES[provider](record, body)
        can_be_kept(record)
        assert dump_json(with_settings(parse_reply(body)))
