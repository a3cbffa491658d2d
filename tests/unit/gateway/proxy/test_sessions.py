from __future__ import annotations

from typing import Any

import pytest

from gateway.providers import Outgoing
from gateway.proxy.sessions import session_named, session_of
from shared.bus.channels import AccessRecord

USER = {"role": "user", "content": "hello"}


def outgoing(
    headers: dict[bytes, bytes] | None = None, session: str = "", caller: str = ""
) -> Outgoing:
    return Outgoing(
        "POST",
        "/responses",
        headers or {},
        b"",
        AccessRecord("req_1", 0.0, caller=caller),
        session=session,
    )


def session(*items: Any, caller: str = "", **document: Any) -> str:
    return session_of(outgoing(caller=caller), {"input": list(items), **document})


def test_a_caller_names_a_conversation_to_any_provider_in_this_order() -> None:
    scope: dict[str, Any] = {"path_params": {"session_id": "path"}}
    headers = {
        b"x-session-id": b"header",
        b"x-claude-code-session-id": b"claude",
        b"session_id": b"codex",
    }
    document = {"metadata": {"session_id": "body"}, "prompt_cache_key": "key"}
    assert session_named(scope, headers, document) == "path"
    assert session_named({}, headers, document) == "header"
    del headers[b"x-session-id"]
    assert session_named({}, headers, document) == "claude"
    del headers[b"x-claude-code-session-id"]
    assert session_named({}, headers, document) == "body"
    assert session_named({}, headers, {"metadata": "text", "prompt_cache_key": "key"}) == ""


def test_the_key_of_a_responses_request_is_found_in_this_order() -> None:
    headers = {b"session_id": b"header", b"session-id": b"hyphen"}
    document = {"prompt_cache_key": "key"}
    assert session_of(outgoing(headers, "path"), document) == "path"
    assert session_of(outgoing(headers), document) == "header"
    del headers[b"session_id"]
    assert session_of(outgoing(headers), document) == "hyphen"
    del headers[b"session-id"]
    assert session_of(outgoing(headers), document) == "key"


@pytest.mark.parametrize("name", ["x" * 65, "with space", "ü", "\ud83d"])
def test_a_name_that_cannot_be_a_key_is_hashed_the_same_way_each_time(name: str) -> None:
    first = session_of(outgoing(session=name), {})
    assert first == session_of(outgoing(session=name), {})
    assert len(first) == 32


def test_unnamed_conversations_are_told_by_caller_and_first_turn() -> None:
    system = {"role": "developer", "content": "Be brief."}
    first = session(system, USER)
    answered = {"role": "assistant", "content": "hi"}
    assert session(system, USER, answered, {"role": "user", "content": "and?"}) == first
    others = {
        session(USER),
        session(system, USER, caller="someone"),
        session(system, {"role": "user", "content": "bye"}),
        session(system, USER, instructions="Be long."),
    }
    assert len(others | {first}) == 5


def test_an_input_that_is_a_plain_text_has_a_key_too() -> None:
    assert session_of(outgoing(), {"input": "hello"}) != session_of(outgoing(), {"input": "bye"})
    assert session_of(outgoing(), {})


@pytest.mark.parametrize("value", [2**70, "\ud83d"])
def test_a_first_turn_that_not_every_reader_of_json_takes_has_a_key(value: object) -> None:
    item = {"role": "user", "content": [{"type": "input_text", "text": value}]}
    assert session(item) == session(item) != session(USER)
