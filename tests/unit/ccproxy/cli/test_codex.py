from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ccproxy.cli.codex import app, model_rows, profile_rows
from ccproxy.cli.exits import CONFIGURATION, FAILED
from shared.accounts.codex_profile import Profile, cache_file, write_cache
from shared.settings.tree import load_settings
from tests.support.trusting import trust_folder

TOML = """\
# my settings
[server]
port = 9000  # a port

[codex]
# how much
max_output_tokens_fallback = 1000 # not much
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("CONFIG_FILE", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_set_changes_what_was_named_and_keeps_the_rest(home: Path) -> None:
    file = home / "ccproxy.toml"
    file.write_text(TOML)
    trust_folder()
    result = run(
        "set", "--max-output-tokens-fallback", "4096", "--system-prompt-injection-mode", "append"
    )
    assert result.exit_code == 0, result.output
    written = file.read_text()
    assert written == TOML.replace("= 1000", "= 4096") + 'system_prompt_injection_mode = "append"\n'
    settings = load_settings().codex
    assert (settings.max_output_tokens_fallback, settings.system_prompt_injection_mode) == (
        4096,
        "append",
    )


def test_set_keeps_the_rights_of_the_file(home: Path) -> None:
    file = home / "ccproxy.toml"
    file.write_text(TOML)
    file.chmod(0o640)
    trust_folder()
    assert run("set", "--disable-dynamic-model-info").exit_code == 0
    assert file.stat().st_mode & 0o777 == 0o640


def test_set_says_that_a_file_cannot_be_written(home: Path) -> None:
    (home / "file").touch()
    result = run("set", "--disable-dynamic-model-info", "-c", str(home / "file/other.toml"))
    assert result.exit_code == CONFIGURATION
    assert "cannot be written" in result.output


def test_set_makes_a_file_where_there_is_none(home: Path) -> None:
    assert run("set", "--disable-dynamic-model-info").exit_code == 0
    written = home / "XDG_CONFIG_HOME/ccproxy/config.toml"
    assert written.read_text() == "[codex]\nenable_dynamic_model_info = false\n"


def test_set_says_when_the_environment_is_stronger(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX__MAX_OUTPUT_TOKENS_FALLBACK", "7")
    result = run("set", "--max-output-tokens-fallback", "4096")
    assert "CODEX__MAX_OUTPUT_TOKENS_FALLBACK is set in the environment" in result.output


def test_set_with_nothing_to_set_says_so(home: Path) -> None:
    result = run("set")
    assert (result.exit_code, "Nothing to set" in result.output) == (0, True)
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("broken", ["[codex\n", "codex = 7\n", "[server]\nport = 'x'\n"])
def test_a_file_that_cannot_be_used_is_left_alone(home: Path, broken: str) -> None:
    file = home / "other.toml"
    file.write_text(broken)
    result = run("set", "--enable-dynamic-model-info", "-c", str(file))
    assert result.exit_code == CONFIGURATION
    assert str(file) in result.output
    assert file.read_text() == broken
    assert [path.name for path in home.iterdir()] == ["other.toml"]


def test_the_cache_is_shown_dumped_and_cleared() -> None:
    assert run("cache").exit_code == FAILED
    models = [{"slug": "gpt-x", "context_window": 1000, "base_instructions": "Be x."}]
    write_cache(cache_file(), Profile("0.170.0", models, ["/bin/codex", 1, 2, 3], 1_790_000_000.0))
    shown = run("cache").output
    assert "0.170.0 (/bin/codex)" in shown
    assert "gpt-x\t1,000" in shown
    assert json.loads(run("cache", "--raw").output)["models"] == models
    assert "is gone" in run("cache", "--clear").output
    assert not cache_file().exists()
    assert "Nothing was kept" in run("cache", "--clear").output


def test_a_limit_nobody_told_is_marked_as_the_fallback() -> None:
    levels = [{"effort": "low"}, {"effort": "high"}]
    rows = model_rows(
        [
            {"slug": "a", "supported_reasoning_levels": levels},
            {"slug": "b", "max_output_tokens": 9000},
        ],
        8192,
    )
    assert list(rows) == [("a", "", "8,192 (fallback)", "low high"), ("b", "", "9,000", "")]


def test_no_program_is_said() -> None:
    assert next(profile_rows(None, Path("x")))[1].startswith("not found")
