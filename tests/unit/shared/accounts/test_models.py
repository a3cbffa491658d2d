"""Names lead to models, and models to what they take; the provider's list wins over the tables."""

from __future__ import annotations

from typing import Any

import pytest

from shared.accounts.models import (
    BUILT_IN,
    CODEX_DEFAULT,
    NEWEST,
    claude_capabilities,
    codex_capabilities,
    default_codex_model,
    is_exact,
    resolve_model,
)
from shared.formats.ir import Vendor
from shared.runtime.errors import ClientError

LIST: list[dict[str, Any]] = [
    {
        "id": "claude-opus-5-5",
        "line": "opus",
        "lifecycle": "active",
        "created_at": "2026-09-01T00:00:00Z",
    },
    {
        "id": "claude-opus-6",
        "line": "opus",
        "lifecycle": "active",
        "created_at": "2026-12-01T00:00:00Z",
    },
    {
        "id": "claude-sonnet-9",
        "line": "sonnet",
        "lifecycle": "retired",
        "created_at": "2027-01-01T00:00:00Z",
    },
    {
        "id": "claude-haiku-6",
        "line": "haiku",
        "lifecycle": "deprecated",
        "created_at": "2027-01-01T00:00:00Z",
    },
    {
        "id": "claude-haiku-5-5",
        "line": "haiku",
        "lifecycle": "active",
        "created_at": "2026-09-01T00:00:00Z",
    },
]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("o3", "opus"),
        ("o1-preview", "opus"),
        ("gpt-6.2-astra", "opus"),
        ("o3-mini", "sonnet"),
        ("o4-mini-2025-04-16", "sonnet"),
        ("gpt-4o", "sonnet"),
        ("gpt-6.2-sol", "sonnet"),
        ("chatgpt-4o-latest", "sonnet"),
        ("gpt-4o-mini", "haiku"),
        ("gpt-6-luna", "haiku"),
        ("gpt-3.5-turbo", "haiku"),
        ("opus", "opus"),
        ("claude-haiku-latest", "haiku"),
    ],
)
def test_openai_names_stand_for_the_newest_model_of_a_claude_line(name: str, line: str) -> None:
    assert resolve_model(name, {}, [], "anthropic") == NEWEST[line]


@pytest.mark.parametrize("name", ["claude-opus-5", "claude-nobody-knows", "llama-4", "gpt4all"])
def test_any_other_name_passes_unchanged(name: str) -> None:
    assert resolve_model(name, {}, LIST, "anthropic") == name


def test_the_newest_is_taken_from_the_list_and_never_a_retired_one() -> None:
    assert resolve_model("o3", {}, LIST, "anthropic") == "claude-opus-6"
    assert resolve_model("gpt-4o", {}, LIST, "anthropic") == NEWEST["sonnet"]
    assert resolve_model("gpt-4o-mini", {}, LIST, "anthropic") == "claude-haiku-5-5"


def test_the_owners_aliases_come_first_exact_then_longest_prefix_then_regex() -> None:
    aliases = {"gpt-*": "a", "gpt-4*": "b", "gpt-4o": "c", "/.*-turbo/": "d", "/my-.*/": "opus"}
    assert resolve_model("gpt-4o", aliases, [], "anthropic") == "c"
    assert resolve_model("gpt-4.1", aliases, [], "anthropic") == "b"
    assert resolve_model("gpt-5", aliases, [], "anthropic") == "a"
    assert resolve_model("their-turbo", aliases, [], "anthropic") == "d"
    assert resolve_model("my-model", aliases, LIST, "anthropic") == "claude-opus-6"


def test_a_broken_regular_expression_is_named() -> None:
    with pytest.raises(ClientError, match=r"MODELS__ALIASES: /\(/ is not"):
        resolve_model("x", {"/(/": "y"}, [], "anthropic")


def test_a_claude_name_on_codex_becomes_the_model_codex_offers_first() -> None:
    listed = [
        {"slug": "hidden", "visibility": "hide", "priority": 0},
        {"slug": "second", "visibility": "list", "priority": 2},
        {"slug": "first", "visibility": "list", "priority": 1},
    ]
    assert resolve_model("claude-opus-5-5", {}, listed, "openai") == "first"
    assert resolve_model("sonnet", {}, [], "openai") == CODEX_DEFAULT
    assert resolve_model("gpt-6-sol", {}, listed, "openai") == "gpt-6-sol"
    assert default_codex_model([]) == CODEX_DEFAULT


def test_a_date_does_not_hide_a_known_model_and_an_unknown_one_is_taken_for_new() -> None:
    assert claude_capabilities("claude-haiku-4-5-20251001", []) == BUILT_IN["claude-haiku-4-5"]
    unknown = claude_capabilities("claude-opus-7", [])
    assert (unknown.thinking, unknown.forced_tools, unknown.sampling) == (
        {"adaptive"},
        False,
        False,
    )


def test_the_list_says_what_a_model_takes() -> None:
    yes, no = {"supported": True}, {"supported": False}
    listed = {
        "id": "claude-opus-5",
        "max_tokens": 128_000,
        "capabilities": {
            "thinking": {
                "supported": True,
                "types": {"adaptive": yes, "enabled": no, "disabled": yes},
            },
            "effort": {"supported": True, "low": yes, "high": yes, "max": no, "xhigh": None},
            "structured_outputs": no,
        },
    }
    capabilities = claude_capabilities("claude-opus-5", [listed])
    assert capabilities.max_output == 128_000
    assert capabilities.thinking == {"adaptive", "disabled"}
    assert capabilities.efforts == {"low", "high"}
    assert not capabilities.structured_output
    assert capabilities.forced_tools, "no list says this; the table does"


def test_codex_efforts_come_from_its_list() -> None:
    listed = [
        {"slug": "gpt-6-sol", "supported_reasoning_levels": [{"effort": "low"}, {"effort": "high"}]}
    ]
    assert codex_capabilities("gpt-6-sol", listed).efforts == {"low", "high"}
    assert "medium" in codex_capabilities("gpt-7", listed).efforts


@pytest.mark.parametrize(
    ("name", "vendor", "exact"),
    [
        ("claude-opus-5-5", "anthropic", True),
        ("claude-opus-latest", "anthropic", False),
        ("opus", "anthropic", False),
        ("gpt-5.5", "anthropic", False),
        ("gpt-5.5", "openai", True),
        ("claude-opus-5-5", "openai", False),
        ("opus", "openai", False),
    ],
)
def test_a_vendors_own_name_needs_no_list(name: str, vendor: Vendor, exact: bool) -> None:
    assert is_exact(name, vendor) is exact
