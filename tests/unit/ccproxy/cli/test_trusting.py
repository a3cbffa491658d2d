"""`ccproxy config trust` shows what would change, asks, and remembers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ccproxy.cli.config import app
from ccproxy.cli.exits import DONE, USAGE
from ccproxy.cli.trusting import trust_files
from shared.settings.files import own_file
from shared.settings.problems import ConfigurationError
from shared.settings.tree import load_settings
from shared.settings.trust import trust_file

ENV = "CLAUDE__API_KEY=sk-s3cret\nSERVER__PORT=8123\nSDK__POOL_SIZE=1\n"
TOML = "[observability]\npushgateway_url = 'http://me:pa55@push.example'\n"

Run = Callable[..., Result]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, "")
    Path(".env").write_text(ENV)
    Path("ccproxy.toml").write_text(TOML)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["trust", *arguments], catch_exceptions=False)

    return run


def test_the_table_has_each_guarded_setting_before_and_after_and_no_secret(run: Run) -> None:
    shown = run("--show")
    assert shown.exit_code == DONE
    assert shown.stdout.splitlines() == [
        ".env\tCLAUDE__API_KEY\t(unset)\t**********",
        ".env\tSERVER__PORT\t8000\t8123",
        "ccproxy.toml\tOBSERVABILITY__PUSHGATEWAY_URL\t(unset)\thttp://****@push.example",
    ]
    assert not trust_file().exists()


def test_consent_is_remembered_and_can_be_revoked(run: Run) -> None:
    assert run("--yes").exit_code == DONE
    assert load_settings().server.port == 8123
    assert "ccproxy.toml is trusted no longer." in run("--revoke").stderr
    with pytest.raises(ConfigurationError, match="sets CLAUDE__API_KEY, SERVER__PORT"):
        load_settings()
    assert "No such file" in run("--revoke").stderr


def test_without_a_terminal_nothing_is_trusted(run: Run) -> None:
    ended = run()
    assert ended.exit_code == USAGE
    assert "--yes" in ended.stderr
    assert not trust_file().exists()


def test_one_file_or_one_folder_can_be_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(".env", "--yes").exit_code == DONE
    with pytest.raises(ConfigurationError) as refused:
        load_settings()
    assert refused.value.message.startswith("ccproxy.toml sets")
    monkeypatch.chdir("/")
    assert run(str(tmp_path), "--yes").exit_code == DONE
    monkeypatch.chdir(tmp_path)
    load_settings()


def test_the_owner_s_own_file_can_be_named(run: Run) -> None:
    own_file().parent.mkdir(parents=True)
    own_file().write_text("[security]\nauth_token = 's3cret-token'\n")
    shown = run(str(own_file()), "--yes")
    assert shown.stdout == f"{own_file()}\tSECURITY__AUTH_TOKEN\t(unset)\t**********\n"
    assert str(own_file()) in trust_file().read_text()


def test_a_folder_without_guarded_settings_needs_no_trust(run: Run) -> None:
    Path(".env").write_text("SDK__POOL_SIZE=1\n")
    Path("ccproxy.toml").unlink()
    assert "nothing to trust" in run().stderr


@pytest.mark.parametrize("text", ["SERVER__PORT=zero\n", "SECURITY__ALLOWED_HOSTS=a,b\n"])
def test_a_file_that_cannot_be_used_is_not_trusted(run: Run, text: str) -> None:
    Path(".env").write_text(text)
    with pytest.raises(ConfigurationError):
        run("--yes")
    assert not trust_file().exists()


def test_a_file_that_is_not_there_is_named(run: Run) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml does not exist"):
        run("nowhere.toml")


def test_a_list_that_cannot_be_written_is_one_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the home directory should be")
    with pytest.raises(ConfigurationError, match="list of trusted files"):
        trust_files([Path()], show_only=False, revoke=False, yes=True)
