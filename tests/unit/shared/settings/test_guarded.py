"""Guarded settings are marked where they stand, and the mark is found for each of them."""

from __future__ import annotations

import pytest

from shared.settings.guarded import digest_of, flat, is_guarded, split_guarded
from shared.settings.problems import leaves, name_of
from shared.settings.tree import Settings

# What each name part says of a setting; a new setting with such a name must bear the mark.
GUARDED_NAMES = (
    "url",
    "host",
    "hosts",
    "token",
    "tokens",
    "key",
    "file",
    "path",
    "binary",
    "cwd",
    "tools",
    "roots",
)


@pytest.mark.parametrize(
    "name",
    [ "SERVER__HOST", "SERVER__PORT", "SERVER__RUN_DIR", "REDIS__URL", "REDIS__SERVER_BINARY", "SECURITY__AUTH_TOKEN", "SECURITY__TOKENS", "SECURITY__PERMISSION_RULES_FILE", "SECURITY__PROVIDER_HOSTS", "CLAUDE__BASE_URL", "CLAUDE__API_KEY", "CLAUDE__CREDENTIALS_FILE", "CLAUDE__OAUTH__TOKEN_URL", "CLAUDE__CLI_PATH", "CLAUDE__BUILTIN_PERMISSIONS", "CLAUDE__CODE_OPTIONS__CWD", "CLAUDE__CODE_OPTIONS__PERMISSION_MODE", "CLAUDE__CODE_OPTIONS__ALLOWED_TOOLS", "CLAUDE__CODE_OPTIONS__DISALLOWED_TOOLS", "CLAUDE__CODE_OPTIONS__MCP_CONFIG", "SDK__WORKING_ROOTS", "CODEX__BASE_URL", "CODEX__API_BASE_URL", "CODEX__API_KEY", "CODEX__AUTH_FILE", "CODEX__CLI_PATH", "CODEX__OAUTH__BASE_URL", "OBSERVABILITY__DUCKDB_PATH", "OBSERVABILITY__PRICES_URL", "OBSERVABILITY__PUSHGATEWAY_URL", "OBSERVABILITY__OTLP_ENDPOINT", ],
)  # fmt: skip
def test_the_settings_that_decide_about_safety_are_guarded(name: str) -> None:
    assert is_guarded(Settings, tuple(name.lower().split("__")))


@pytest.mark.parametrize(
    "name", ["SERVER__LOG_LEVEL", "MODELS__ALIASES", "SDK__POOL_SIZE", "NO__SUCH"]
)
def test_the_others_are_not(name: str) -> None:
    assert not is_guarded(Settings, tuple(name.lower().split("__")))


def test_every_setting_whose_name_says_address_secret_or_file_bears_the_mark() -> None:
    unmarked = [
        name_of(path)
        for path, _ in leaves(Settings)
        if path[-1].rpartition("_")[2] in GUARDED_NAMES
        and not path[-1].startswith(("max_", "bytes_"))  # an amount
        and not is_guarded(Settings, path)
    ]
    assert unmarked == []


def test_values_are_divided_and_nothing_is_lost() -> None:
    values = {
        "server": {"port": 1, "workers": 2},
        "security": {"anything": 1},
        "claude": {"oauth": "no table", "code_options": {"cwd": "/", "model": "x"}},
        "models": {"aliases": {"a": "b"}},
        "unknown": {"x": 1},
    }
    guarded, rest = split_guarded(Settings, values)
    assert guarded == {
        "server": {"port": 1},
        "security": {"anything": 1},
        "claude": {"oauth": "no table", "code_options": {"cwd": "/"}},
    }
    assert rest == {
        "server": {"workers": 2},
        "claude": {"code_options": {"model": "x"}},
        "models": {"aliases": {"a": "b"}},
        "unknown": {"x": 1},
    }


def test_settings_are_flat_and_a_table_that_is_a_value_stays_whole() -> None:
    values = {"models": {"aliases": {"a": "b"}}, "claude": {"oauth": {"client_id": "x"}}}
    assert dict(flat(Settings, values)) == {
        ("models", "aliases"): {"a": "b"},
        ("claude", "oauth", "client_id"): "x",
    }


def test_a_digest_tells_values_apart_and_nothing_else() -> None:
    assert digest_of({"a": {"b": 1, "c": 2}}) == digest_of({"a": {"c": 2, "b": 1}})
    assert (
        len(
            {
                digest_of(values)
                for values in ({}, {"a": 1}, {"a": "1"}, {"a": {"b": 1}}, {"a": [1]})
            }
        )
        == 5
    )
