"""Doctor names aliases that lead nowhere, and the unknown models that clients asked for."""

from __future__ import annotations

from typing import Any

from ccproxy.cli.checks_models import judge_aliases, judge_refusals, look_at_models
from ccproxy.cli.found_stack import FoundStack
from tests.unit.ccproxy.cli.test_checks_outside import machine, server  # noqa: F401 - fixtures

CLAUDE: list[dict[str, Any]] = [
    {"id": "claude-sonnet-5-5", "line": "sonnet", "lifecycle": "active"},
    {"id": "claude-haiku-4-5-20251001", "line": "haiku"},
]
CODEX = [{"slug": "gpt-5.5"}]


def says(
    aliases: dict[str, str], claude: Any = CLAUDE, codex: Any = CODEX
) -> list[tuple[str, str]]:
    return [(finding.status, finding.says) for finding in judge_aliases(aliases, claude, codex)]


def test_aliases_of_listed_models_and_of_their_short_names_are_well() -> None:
    aliases = {"a": "claude-sonnet-5-5", "b": "sonnet", "c": "claude-haiku-4-5", "d*": "gpt-5.5"}
    assert says(aliases) == [("pass", "the models of 4 alias(es) exist")]


def test_an_alias_of_a_model_in_no_list_is_named_with_its_setting() -> None:
    [claude] = judge_aliases({"old": "claude-3-opus"}, CLAUDE, CODEX)
    assert (claude.status, "'old'" in claude.says, "MODELS__ALIASES" in claude.fix) == (
        "warn",
        True,
        True,
    )
    [codex] = judge_aliases({"old": "gpt-5"}, CLAUDE, CODEX)
    assert (codex.status, "/codex/v1/models" in codex.fix) == ("warn", True)


def test_an_alias_is_not_proved_by_its_own_entry_in_the_list() -> None:
    own = {"id": "claude-old", "display_name": "claude-old → claude-gone"}
    other = {"id": "claude-gone", "display_name": "claude-gone → claude-old"}
    aliases = {"claude-old": "claude-gone", "claude-gone": "claude-old"}
    assert [status for status, _ in says(aliases, [*CLAUDE, own, other])] == ["warn", "warn"]


def test_a_list_that_cannot_be_had_proves_nothing() -> None:
    assert says({"old": "claude-3-opus", "other": "gpt-5"}, [], []) == []


def record(**facts: Any) -> dict[str, Any]:
    known = {
        "status_code": 404,
        "provider": "claude",
        "asked_model": "claude-3",
        "client_program": "claude-code",
    }
    return known | {"error_message": "model: claude-3"} | facts


def test_unknown_models_that_clients_asked_for_are_counted_the_most_frequent_first() -> None:
    refused = {
        "status_code": 400,
        "provider": "codex",
        "asked_model": "gpt-5",
        "client_program": "",
    }
    words = "The 'gpt-5' model is not supported when using Codex with a ChatGPT account."
    found = list(judge_refusals([record(error_message=words, **refused), record(), record()]))
    assert [finding.says for finding in found] == [
        "2 request(s) of claude-code within a day asked claude for 'claude-3', and were refused",
        "1 request(s) of a client within a day asked codex for 'gpt-5', and were refused",
    ]
    assert all("MODELS__ALIASES" in finding.fix for finding in found)


def test_other_refusals_are_no_finding() -> None:
    others = [
        record(error_message="Not Found"),
        record(status_code=429),
        {},
        record(error_message=None),
    ]
    assert not list(judge_refusals(others))


async def test_a_gateway_that_answers_oddly_costs_no_finding_and_no_traceback(
    machine,  # noqa: F811
    server,  # noqa: F811
) -> None:
    odd = machine(models={"aliases": {"a": "claude-3"}})
    url = await server(b"HTTP/1.1 200 OK\ncontent-length: 2\nconnection: close", b"[]")
    odd.stack = FoundStack(url, "", "settings")
    assert await look_at_models(odd) == []
    odd.stack = FoundStack("http://127.0.0.1:1", "", "settings")
    assert await look_at_models(odd) == []
    odd.stack = None
    assert await look_at_models(odd) == []
