from __future__ import annotations

import pytest

from gateway.waiting.priorities import Priority, headers_priority
from shared.runtime.errors import ClientError

TERMINAL = {b"user-agent": b"claude-cli/2.1.330 (external, cli)", b"x-app": b"cli"}
PRINTING = {b"user-agent": b"claude-cli/2.1.330 (external, sdk-cli)", b"x-app": b"cli"}


@pytest.mark.parametrize(
    ("headers", "of_token", "expected"),
    [
        ({}, "", Priority.ORDINARY),
        (TERMINAL, "", Priority.PERSON),
        (PRINTING, "", Priority.ORDINARY),
        (TERMINAL | {b"x-app": b"cli-bg"}, "", Priority.BACKGROUND),
        (TERMINAL | {b"x-claude-code-agent-id": b"agent_1"}, "", Priority.ORDINARY),
        ({b"user-agent": b"codex-tui/0.160.0 (Linux)"}, "", Priority.PERSON),
        ({b"user-agent": b"codex_exec/0.160.0 (Linux)"}, "", Priority.ORDINARY),
        ({b"x-ccproxy-priority": b"Person"}, "", Priority.PERSON),
        (TERMINAL | {b"x-ccproxy-priority": b"background"}, "", Priority.BACKGROUND),
        (TERMINAL, "ordinary", Priority.ORDINARY),
        ({}, "person", Priority.PERSON),
        (TERMINAL, "background", Priority.BACKGROUND),
        ({b"x-ccproxy-priority": b"person"}, "background", Priority.BACKGROUND),
        ({b"x-ccproxy-priority": b"person"}, "ordinary", Priority.PERSON),
    ],
)
def test_the_headers_priority_a_request_follows_its_token_its_header_and_its_program(
    headers: dict[bytes, bytes], of_token: str, expected: Priority
) -> None:
    assert headers_priority(headers, of_token) is expected


def test_an_unknown_priority_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ClientError, match="'urgent' is not one of person, ordinary, background"):
        headers_priority({b"x-ccproxy-priority": b"urgent"})
