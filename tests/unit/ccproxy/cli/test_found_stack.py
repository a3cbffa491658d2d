"""The stack that a command speaks to, among the stacks of a machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ccproxy.cli.found_stack import SeveralStacks, find_stack
from ccproxy.cli.stack_options import CHOSEN_TOKEN, CHOSEN_URL
from ccproxy.launcher.stacks import RunningStack
from shared.settings.tree import Settings, load_settings
from tests.support.trusting import trust_folder

DEMO = RunningStack("http://127.0.0.1:8001", 11, "1", "/demo/run", "demo", "demo-token", "/d.json")
SERVE = RunningStack("http://127.0.0.1:8000", 12, "2", "/run", "serve", "run-token", "/t.json")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home without configuration, and a folder without one."""
    for name in (*os.environ,):
        if "__" in name or name in {CHOSEN_URL, CHOSEN_TOKEN}:
            monkeypatch.delenv(name)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("CONFIG_FILE", "")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")


def settings(**server: object) -> Settings:
    return load_settings(server={"port": 8000, **server})


def test_the_only_stack_is_found_wherever_it_was_started() -> None:
    found = find_stack(settings(), [DEMO])
    assert (found.url, found.token, found.pid, found.found_by) == (
        DEMO.url,
        "demo-token",
        11,
        "registry",
    )


def test_the_stack_of_the_settings_run_directory_comes_before_all_others() -> None:
    found = find_stack(settings(run_dir="/run"), [DEMO, SERVE])
    assert (found.url, found.token) == (SERVE.url, "run-token")
    assert found.others == (DEMO,)


def test_several_stacks_are_named_with_the_way_to_choose() -> None:
    with pytest.raises(SeveralStacks) as refused:
        find_stack(settings(), [DEMO, SERVE])
    assert refused.value.message == (
        "Several stacks are running: demo at http://127.0.0.1:8001 (pid 11), serve at "
        "http://127.0.0.1:8000 (pid 12). Choose one with --url."
    )


def test_a_chosen_address_wins_and_gets_its_own_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN_URL, DEMO.url + "/")
    found = find_stack(settings(run_dir="/run"), [DEMO, SERVE])
    assert (found.url, found.token, found.found_by) == (DEMO.url, "demo-token", "--url")


def test_no_stack_s_own_token_goes_to_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN_URL, "https://home.example")
    found = find_stack(settings(run_dir="/run"), [DEMO, SERVE])
    assert (found.url, found.token, found.pid) == ("https://home.example", "", None)


def test_a_given_token_is_stronger_than_the_stack_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN_TOKEN, "mine")
    assert find_stack(settings(), [DEMO]).token == "mine"


def test_a_folder_with_a_stack_of_its_own_is_not_answered_by_another(tmp_path: Path) -> None:
    Path("ccproxy.toml").write_text("[server]\nport = 9000\n")
    trust_folder()
    found = find_stack(settings(port=9000), [DEMO])
    assert (found.url, found.found_by, found.others) == (
        "http://127.0.0.1:9000",
        "settings",
        (DEMO,),
    )


def test_a_port_in_the_owner_s_own_file_hides_no_other_stack(tmp_path: Path) -> None:
    (tmp_path / "ccproxy").mkdir()
    (tmp_path / "ccproxy/config.toml").write_text("[server]\nport = 9000\n")
    assert find_stack(settings(port=9000), [DEMO]).url == DEMO.url


def test_a_running_launcher_without_an_entry_is_found_by_its_run_directory(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "lock").write_text(json.dumps({"pid": os.getpid(), "url": "http://here"}))
    found = find_stack(
        load_settings(server={"run_dir": run}, security={"auth_token": "configured"}), [DEMO]
    )
    assert (found.url, found.token, found.pid) == ("http://here", "configured", os.getpid())


def test_without_a_stack_the_settings_address_is_left() -> None:
    found = find_stack(settings(host="0.0.0.0"), [])
    assert (found.url, found.found_by, found.pid) == ("http://127.0.0.1:8000", "settings", None)
    assert found.facts() == {"url": "http://127.0.0.1:8000"}


def test_the_facts_for_programs_hold_no_token() -> None:
    facts = find_stack(settings(), [DEMO]).facts()
    assert facts == {"url": DEMO.url, "pid": 11, "kind": "demo"}
