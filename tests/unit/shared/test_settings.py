from __future__ import annotations

import pytest

from shared.complaints import leaves, name_of
from shared.settings import ConfigurationError, Settings, load_settings, refuse_open_bind


@pytest.fixture
def here(monkeypatch, tmp_path):
    """An empty directory and environment; `here(".env", text)` writes a file into it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)

    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    write.environ = monkeypatch
    return write


def complaint() -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    return caught.value.message


def test_every_setting_has_a_description_and_a_default(here):
    for path, field in leaves(Settings):
        assert field.description, name_of(path)
        assert not field.is_required(), name_of(path)


def test_the_environment_is_stronger_than_dotenv_and_that_than_toml_value_by_value(here):
    here("ccproxy.toml", '[server]\nport = 1\nhost = "127.0.0.2"\nworkers = 3\n')
    here(".env", "SERVER__PORT=2\nSERVER__HOST=127.0.0.3\n")
    here.environ.setenv("SERVER__PORT", "3")
    server = load_settings().server
    assert (server.port, server.host, server.workers) == (3, "127.0.0.3", 3)


def test_the_hidden_file_beside_the_user_is_found_first_and_only_one_is_read(here):
    here(".config/ccproxy/config.toml", "[server]\nport = 1\nworkers = 9\n")
    here("ccproxy.toml", "[server]\nport = 2\n")
    here(".ccproxy.toml", "[server]\nport = 3\n")
    assert load_settings().server.port == 3
    assert load_settings().server.workers == 1


def test_an_empty_variable_says_nothing(here):
    here.environ.setenv("SERVER__PORT", "")
    assert load_settings().server.port == 8000


def test_somebody_elses_variables_named_like_a_section_are_left_alone(here):
    here.environ.setenv("SDK", "/opt/sdk")
    here.environ.setenv("CLAUDE", "1")
    here.environ.setenv("SOMETHING__ELSE", "1")
    load_settings()


def test_the_promised_second_name_of_a_setting_works(here):
    here.environ.setenv("OBSERVABILITY__METRICS_ENABLED", "false")
    assert load_settings().observability.metrics_endpoint_enabled is False


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("ccproxy.toml", "[server]\n\nprot = 1\n", ["SERVER__PROT (ccproxy.toml:3)", "did you mean SERVER__PORT?"]),
        ("ccproxy.toml", "[server]\nport = 'x'\n", ["SERVER__PORT (ccproxy.toml:2)", "valid integer"]),
        ("ccproxy.toml", "\n[sevrer]\nport = 1\n", ["SEVRER (ccproxy.toml:2)", "did you mean SERVER?"]),
        ("ccproxy.toml", "[cors]\norigins = []\n", ["CORS (ccproxy.toml:1)", "no setting any more"]),
        ("ccproxy.toml", "[server]\nport = \n", ["ccproxy.toml is not valid TOML", "line 2"]),
        (".env", "A=1\nSERVER__PORT=zero\n", ["SERVER__PORT (.env:2)", "valid integer"]),
        (".env", "SERVER__RELOAD=true\n", ["SERVER__RELOAD (.env:1)", "no setting any more"]),
        (".env", "SECURITY__ALLOWED_HOSTS=a,b\n", ["SECURITY__ALLOWED_HOSTS (.env:1)", "must be JSON"]),
        (".env", "SEVER__PORT=1\n", ["SEVER__PORT (.env:1)", "did you mean SERVER__PORT?"]),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(here, file, text, said):
    here(file, text)
    message = complaint()
    for words in said:
        assert words in message


def test_what_is_wrong_in_the_environment_is_said_to_be_there(here):
    here.environ.setenv("SERVER__PORT", "99999")
    assert "SERVER__PORT (environment SERVER__PORT)" in complaint()


def test_every_problem_is_told_at_once(here):
    here("ccproxy.toml", "[server]\nport = 'x'\n[sdk]\npool_size = -1\n")
    message = complaint()
    assert "ccproxy.toml:2" in message
    assert "ccproxy.toml:4" in message


def test_a_complaint_never_shows_the_value(here):
    here("ccproxy.toml", "[claude]\napi_key = ['s3cret']\n")
    assert "s3cret" not in complaint()


def test_a_file_named_outright_must_exist(here):
    here.environ.setenv("CONFIG_FILE", "nowhere.toml")
    assert "nowhere.toml does not exist" in complaint()


def test_beyond_loopback_a_token_is_required(here):
    with pytest.raises(ConfigurationError, match="SECURITY__AUTH_TOKEN"):
        refuse_open_bind(load_settings(server={"host": "0.0.0.0"}))
    refuse_open_bind(load_settings(server={"host": "0.0.0.0"}, security={"auth_token": "x"}))
    refuse_open_bind(load_settings(server={"host": "::1"}))
