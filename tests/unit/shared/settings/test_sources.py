from __future__ import annotations

import pytest

from shared.settings.sources import DEFAULT, OPTIONS, Origins, lines_of_env, lines_of_toml

TOML = """\
# a comment
[server]
port = 1   # here

[claude.code_options]
allowed_tools = [
  "Read",   # two lines
  "Edit",
]
append_system_prompt = '''
[server]
port = 2
'''
models.aliases = { a = "b" }
"""


def test_a_key_is_found_on_the_line_where_its_value_begins():
    lines = lines_of_toml(TOML)
    assert lines["server",] == 2
    assert lines["server", "port"] == 3
    assert lines["claude", "code_options", "allowed_tools"] == 6
    assert lines["claude", "code_options", "append_system_prompt"] == 10
    assert lines["claude", "code_options", "models", "aliases", "a"] == 14


def test_a_file_that_cannot_be_parsed_has_no_lines():
    assert lines_of_toml("[server]\nport = \n") == {}


def test_the_last_line_of_a_variable_counts_and_an_empty_one_does_not():
    assert lines_of_env("A=1\n#A=2\nexport A = '3'\nB=\nC=\"\"\n") == {"A": 3}


@pytest.fixture
def origins(tmp_path):
    (tmp_path / "f.toml").write_text(
        "[server]\nport = 1\nhost = 'x'\nworkers = 2\nlog_level = 'INFO'\n"
    )
    (tmp_path / ".env").write_text("SERVER__PORT=1\nSERVER__HOST=x\nSERVER__WORKERS=1\n")
    environ = {"server__port": "1", "SERVER__HOST": "y", OPTIONS: "SERVER__PORT=--port"}
    return Origins(environ, tmp_path / ".env", [tmp_path / "f.toml"])


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("port", "command line --port"),
        ("host", "environment SERVER__HOST"),
        ("workers", ".env:3"),
        ("log_level", "f.toml:5"),
        ("run_dir", DEFAULT),
    ],
)
def test_the_strongest_source_has_the_last_word(origins, tmp_path, name, where):
    found = origins.of(("server", name))
    assert found.removeprefix(f"{tmp_path}/") == where or name == "run_dir"


def test_a_value_inside_a_setting_has_the_origin_of_the_setting(origins):
    assert origins.of(("server", "host", "0")) == "environment SERVER__HOST"


FILES = {
    "strong.toml": "[server]\nport = 1\n[sdk]\n[models]\naliases = { a = 'b' }\n",
    "weak.toml": "[server]\nport = 2\nhost = 'x'\n",
    ".env": 'CLAUDE__OAUTH={"client_id": "x"}\n',
}


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("server.port", "strong.toml:2"),
        ("server.host", "weak.toml:3"),
        ("server.workers", DEFAULT),
        ("sdk.workers", DEFAULT),
        ("models.aliases", "strong.toml:5"),
        ("models.cache_prompts", DEFAULT),
        ("claude.oauth.client_id", ".env:1"),
        ("claude.oauth.token_url", DEFAULT),
        ("claude.base_url", DEFAULT),
        ("codex.enabled", DEFAULT),
        ("redis.url", "environment REDIS__URL"),
        ("server", "strong.toml:1"),
    ],
)
def test_a_section_is_the_source_of_its_own_keys_alone(tmp_path, name, where):
    for file, text in FILES.items():
        (tmp_path / file).write_text(text)
    environ = {"CODEX": "a program of somebody else", "REDIS__URL": "[no JSON"}
    origins = Origins(
        environ, tmp_path / ".env", [tmp_path / "strong.toml", tmp_path / "weak.toml"]
    )
    assert origins.of(tuple(name.split("."))).removeprefix(f"{tmp_path}/") == where
