from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ccproxy.cli.config import annotated_toml, app, env_example
from shared.settings.problems import ConfigurationError, leaves, name_of
from shared.settings.tree import Settings, load_settings
from tests.support.trusting import trust_folder

ROOT = Path(__file__).parents[4]


@pytest.fixture
def run(monkeypatch, tmp_path):
    """The command in an empty directory; `run.environ` is its environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("CONFIG_FILE", "")

    def run(*arguments):
        return CliRunner().invoke(app, arguments, catch_exceptions=False)

    run.environ = monkeypatch
    return run


def test_every_setting_is_shown_and_secrets_are_masked(run):
    run.environ.setenv("SECURITY__AUTH_TOKEN", "s3cret-token")
    run.environ.setenv("REDIS__URL", "redis://:s3cret@localhost/0")
    shown = run("show").stdout
    assert "s3cret" not in shown
    assert {line.split("\t")[0] for line in shown.splitlines()} == {
        name_of(path) for path, _ in leaves(Settings)
    }
    assert "s3cret" not in run("show", "--json", "--sources").stdout


def test_the_source_of_each_value_is_told(run):
    run.environ.setenv("SERVER__PORT", "8123")
    Path("ccproxy.toml").write_text("[server]\nhost = '127.0.0.2'\n")
    trust_folder()
    shown = json.loads(run("show", "--sources", "--json").stdout)
    assert shown["SERVER__PORT"] == {"value": 8123, "source": "environment SERVER__PORT"}
    assert shown["SERVER__HOST"] == {"value": "127.0.0.2", "source": "ccproxy.toml:2"}
    sources = {name: said["source"] for name, said in shown.items()}
    assert {name for name, source in sources.items() if source != "default"} == {
        "SERVER__PORT",
        "SERVER__HOST",
    }


def test_init_writes_a_file_that_changes_nothing_and_is_never_overwritten(run, tmp_path):
    before = load_settings()
    assert run("init").exit_code == 0
    written = tmp_path / ".config/ccproxy/config.toml"
    assert written.read_text() == annotated_toml()
    assert load_settings() == before
    written.write_text("mine")
    assert run("init").exit_code == 1
    assert written.read_text() == "mine"
    assert run("init", "--force").exit_code == 0


def test_every_default_in_the_annotated_file_is_the_default(run, tmp_path):
    lines = annotated_toml().splitlines()
    live = [
        line.removeprefix("# ") if " = " in line and line.startswith("# ") else line
        for line in lines
    ]
    text = "\n".join(
        line for line in live if not line.startswith("#") and (not line or line[0] != "`")
    )
    said = tomllib.loads(
        "\n".join(line for line in text.splitlines() if not line or line[0] == "[" or " = " in line)
    )
    (tmp_path / "all.toml").write_text(text)
    defaults = load_settings()
    run.environ.setenv("CONFIG_FILE", str(tmp_path / "all.toml"))
    assert load_settings() == defaults
    assert said["server"]["port"] == 8000


def test_check_names_what_is_wrong_and_what_is_gone(run, tmp_path):
    (tmp_path / "mine.toml").write_text("[server]\n\nport = 'x'\n")
    with pytest.raises(ConfigurationError, match=r"mine\.toml:3"):
        run("check", "mine.toml")
    run.environ.setenv("CONFIG_FILE", "")
    run.environ.setenv("CORS__ORIGINS", "*")
    checked = run("check")
    assert checked.exit_code == 0
    assert "CORS__ORIGINS (environment CORS__ORIGINS) does nothing any more" in checked.stderr


def test_the_schema_knows_every_section(run):
    assert json.loads(run("schema").stdout)["properties"].keys() == Settings.model_fields.keys()


def test_the_example_of_variables_names_every_setting():
    named = {line.removeprefix("# ").partition("=")[0] for line in env_example().splitlines()}
    assert {name_of(path) for path, _ in leaves(Settings)} <= named


@pytest.mark.parametrize(
    ("file", "text"), [(".env.example", env_example), ("examples/ccproxy.toml", annotated_toml)]
)
def test_the_examples_in_the_tree_are_up_to_date(file, text):
    assert (ROOT / file).read_text() == text(), "run `make docs`"
