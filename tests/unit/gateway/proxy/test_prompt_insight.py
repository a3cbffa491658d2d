"""A record gets the fingerprint of its prompt and the folder that the client names, and no text."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.providers import Outgoing
from gateway.proxy.prompt_insight import LEAST_TOKENS, note_prompt
from shared.bus.channels import AccessRecord
from shared.bus.fingerprints import read_fingerprint
from shared.runtime.exact_json import dump_json

Json = dict[str, Any]
BODY: Json = {"messages": [{"role": "user", "content": "a secret text"}]}


def request(document: Json | None, **facts: Any) -> Outgoing:
    known = {"provider": "claude", "session_id": "s", "tokens_input": LEAST_TOKENS}
    record = AccessRecord("r", 0.0, **(known | facts))
    return Outgoing("POST", "/v1/messages", {}, dump_json(document or BODY), record, document)


async def test_a_record_gets_the_fingerprint_of_its_prompt_without_a_text() -> None:
    asked = request(BODY)
    await note_prompt(asked)
    assert read_fingerprint(asked.record.fingerprint).message_count == 1
    assert "secret" not in asked.record.fingerprint


async def test_a_body_that_was_never_parsed_has_the_same_fingerprint() -> None:
    parsed, raw = request(BODY), request(None)
    await note_prompt(parsed)
    await note_prompt(raw)
    assert raw.record.fingerprint == parsed.record.fingerprint != ""


async def test_what_was_sent_counts_where_it_differs_from_what_was_asked() -> None:
    asked = request({"input": "no"}, provider="codex")
    asked.sent = {"input": [{"role": "user", "content": "one"}, {"role": "user", "content": "two"}]}
    await note_prompt(asked)
    assert read_fingerprint(asked.record.fingerprint).message_count == 2


@pytest.mark.parametrize(
    "facts",
    [{"session_id": ""}, {"tokens_input": LEAST_TOKENS - 1}, {"provider": "sdk"}],
)
async def test_a_prompt_that_is_compared_with_nothing_gets_none(facts: Json) -> None:
    asked = request(BODY, **facts)
    await note_prompt(asked)
    assert asked.record.fingerprint == ""


async def test_a_prompt_that_cannot_be_read_costs_only_the_fingerprint() -> None:
    asked = request(None)
    asked.body = b'{"messages": [{"role": tru}]}'
    await note_prompt(asked)
    assert asked.record.fingerprint == ""


ENVIRONMENT = (
    "# Environment\nYou have been invoked: \n - Primary working directory: /srv/house\n - x"
)
OLDER = "<env>\nWorking directory: /srv/old house\nIs directory a git repo: Yes\n</env>"
CODEX = "<environment_context>\n  <cwd>/srv/codex</cwd>\n  <shell>bash</shell>"


@pytest.mark.parametrize(
    ("program", "document", "folder"),
    [
        (
            "claude-code",
            {"messages": [{"role": "user", "content": "hi"}, {"role": "system", "content": ENVIRONMENT}]},
            "/srv/house",
        ),
        ("claude-code", {"system": [{"type": "text", "text": OLDER}], "messages": []}, "/srv/old house"),
        ("claude-code", {"messages": [{"role": "user", "content": ENVIRONMENT}]}, ""),
        ("curl", {"system": OLDER, "messages": []}, ""),
        (
            "codex",
            {"input": [{"role": "user", "content": [{"type": "input_text", "text": CODEX}]}]},
            "/srv/codex",
        ),
        ("codex", {"input": [{"role": "user", "content": f"read this: {CODEX}"}]}, ""),
        ("codex", {"input": "text"}, ""),
    ],
)  # fmt: skip
async def test_the_folder_is_what_the_program_itself_names(
    program: str, document: Json, folder: str
) -> None:
    provider = "codex" if program == "codex" else "claude"
    asked = request(document, client_program=program, provider=provider)
    await note_prompt(asked)
    assert asked.record.working_directory == folder
