from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from ccproxy.cli import checks
from ccproxy.cli.checks import Machine
from ccproxy.cli.found_stack import FoundStack, find_stack
from shared.settings.tree import load_settings
from tests.support.trusting import trust_folder


@pytest.fixture
def home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "HOME": str(tmp_path),
        "CONFIG_FILE": "",
        "CLAUDE_CONFIG_DIR": "",
        "CODEX_HOME": "",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SERVER__RUN_DIR", str(tmp_path / "run"))
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "cgroup").mkdir()
    return tmp_path


@pytest.fixture
def machine(home):
    """`machine(sdk={...})`: this machine, with its /proc and cgroup under the test's
    own directory.
    """

    def make(**given: object) -> Machine:
        settings = load_settings(**given)
        stack = find_stack(settings, [])
        return Machine(
            settings,
            proc=home / "proc",
            cgroup=home / "cgroup",
            stack=stack if stack.pid else None,
        )

    return make


def told(found):
    return [(finding.status, finding.says, finding.fix) for finding in found]


def only(found):
    [finding] = found
    return finding


def test_a_taken_port_is_wrong_and_a_free_one_is_well(machine):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        finding = only(checks.look_at_port(machine(server={"port": port})))
        assert finding.status == "fail"
        assert "SERVER__PORT" in finding.fix
    assert only(checks.look_at_port(machine(server={"port": port}))).status == "pass"


def test_the_port_of_a_running_stack_is_its_own(machine, home):
    (home / "run").mkdir()
    (home / "run/lock").write_text(json.dumps({"pid": os.getpid(), "url": "http://here"}))
    assert "http://here" in only(checks.look_at_port(machine())).says


def test_a_missing_redis_is_told_with_what_to_install(machine, home):
    finding = only(checks.look_at_redis_program(machine(redis={"server_binary": home / "none"})))
    assert finding.status == "fail"
    assert only(checks.look_at_redis_program(machine())).status == "pass"
    assert not list(checks.look_at_redis_program(machine(redis={"url": "redis://elsewhere"})))


def test_root_is_worth_a_note(machine, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert only(checks.look_at_user(machine())).status == "warn"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not list(checks.look_at_user(machine()))


def login(path: Path, token: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"claudeAiOauth": {"refreshToken": token}}))
    return path


def test_two_files_with_one_refresh_token_are_two_refreshers(machine, home):
    login(home / ".claude/.credentials.json", "r1")
    login(home / ".config/claude/.credentials.json", "r1")
    finding = only(checks.look_at_login_files(machine()))
    assert "the same login" in finding.says
    login(home / ".config/claude/.credentials.json", "r2")
    assert not list(checks.look_at_login_files(machine()))


def test_a_link_to_a_login_is_no_copy(machine, home):
    real = login(home / ".claude/.credentials.json", "r1")
    (home / ".config/claude").mkdir(parents=True)
    (home / ".config/claude/.credentials.json").symlink_to(real)
    assert not list(checks.look_at_login_files(machine()))


def test_a_login_mounted_as_a_single_file_is_told(machine, home):
    path = login(home / ".claude/.credentials.json", "r1")
    (home / "proc/self/mountinfo").write_text(
        f"36 35 98:0 /x {path} rw,noatime - ext4 /dev/sda rw\n"
    )
    finding = only(checks.look_at_login_files(machine()))
    assert "single file" in finding.says
    assert str(path.parent) in finding.fix


def hold_lock(path, holding, release):
    with open(path, "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        holding.set()
        release.wait(30)


def test_records_that_another_program_has_open_are_told(machine, home):
    path = home / "metrics.duckdb"
    settings = {"observability": {"duckdb_path": path}}
    assert not list(checks.look_at_records(machine(**settings)))
    path.touch()
    assert only(checks.look_at_records(machine(**settings))).status == "pass"
    context = multiprocessing.get_context("spawn")
    holding, release = context.Event(), context.Event()
    other = context.Process(target=hold_lock, args=(path, holding, release))
    other.start()
    assert holding.wait(30)
    assert only(checks.look_at_records(machine(**settings))).status == "fail"
    release.set()
    other.join(30)


@pytest.mark.parametrize(
    ("meminfo_mib", "limit_mib", "status"),
    [(4000, None, "pass"), (500, None, "warn"), (4000, 800, "warn")],
)
def test_memory_is_measured_against_the_pool(machine, home, meminfo_mib, limit_mib, status):
    (home / "proc/meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable: {meminfo_mib * 1024} kB\n")
    if limit_mib:
        (home / "cgroup/memory.max").write_text(f"{limit_mib * 1024 * 1024}\n")
        (home / "cgroup/memory.current").write_text("0\n")
    finding = only(checks.look_at_memory(machine(sdk={"pool_size": 3, "workers": 1})))
    assert finding.status == status


def test_a_file_with_a_secret_that_others_can_read_is_told(machine, home):
    env = home / ".env"
    env.write_text("SECURITY__AUTH_TOKEN=s3cret\n")
    trust_folder()
    env.chmod(0o644)
    assert only(checks.look_at_secret_files(machine())).fix == "chmod 600 .env"
    env.chmod(0o600)
    assert not list(checks.look_at_secret_files(machine()))
    env.write_text("# SECURITY__AUTH_TOKEN=\nSERVER__WORKERS=1\n")
    env.chmod(0o644)
    assert not list(checks.look_at_secret_files(machine()))


def test_what_is_left_of_the_first_ccproxy_is_told(home, monkeypatch):
    monkeypatch.setenv("SCHEDULER__ENABLED", "true")
    _, finding = checks.look_at_configuration()
    assert finding.status == "warn"
    assert "SCHEDULER__ENABLED" in finding.says


def test_every_check_that_is_not_well_says_what_to_do(machine, home):
    (home / "proc/meminfo").write_text("MemAvailable: 1 kB\n")
    for look in checks.HERE:
        for finding in look(machine()):
            assert finding.status == "pass" or finding.fix, finding


def test_a_folder_where_no_login_can_be_kept_is_told_with_its_chown(machine, home, monkeypatch):
    monkeypatch.setenv("HOME", str(home / "made-by-the-engine"))
    (home / "made-by-the-engine").mkdir()
    assert not list(checks.look_at_login_files(machine()))
    (home / "made-by-the-engine").rmdir()
    monkeypatch.setenv("HOME", "/proc/self")  # a folder nobody can write, root neither
    found = list(checks.look_at_login_files(machine()))
    assert [finding.about for finding in found] == ["claude login", "codex login"]
    assert all(
        "/proc/self cannot be written" in finding.says and "chown" in finding.fix
        for finding in found
    )


def test_a_stack_in_containers_runs_in_parts_and_one_of_this_run_directory_does_not(machine, home):
    assert not machine().runs_in_parts
    alone = FoundStack("http://127.0.0.1:8000", "", "settings")
    assert Machine(load_settings(), stack=alone).runs_in_parts
    assert not Machine(load_settings(), stack=replace(alone, pid=1)).runs_in_parts


def test_an_address_that_is_not_the_provider_s_is_named(machine):
    assert not list(checks.look_at_provider_addresses(machine()))
    finding = only(
        checks.look_at_provider_addresses(
            machine(codex={"base_url": "https://relay.example/codex"})
        )
    )
    assert finding.status == "warn"
    assert "CODEX__BASE_URL: your credentials go to https://relay.example/codex" in finding.says


def test_notifications_without_buttons_are_named(machine):
    assert not list(checks.look_at_notifications(machine()))
    topic = {"ntfy_topic": "a-secret-topic"}
    finding = only(checks.look_at_notifications(machine(notify=topic)))
    assert (finding.status, "NOTIFY__PUBLIC_URL" in finding.fix) == ("warn", True)
    reached = topic | {"public_url": "https://home.example"}
    finding = only(checks.look_at_notifications(machine(notify=reached)))
    assert (finding.status, finding.says) == ("pass", "by ntfy; try `ccproxy notify test`")


def test_permission_rules_that_never_apply_or_cannot_be_read_are_named(machine, home):
    file = home / "rules.toml"
    here = machine(security={"permission_rules_file": file})
    assert not list(checks.look_at_permission_rules(here))
    file.write_text('[[rules]]\ntool = "Bash"\ncommand_prefix = "git status"\n')
    assert told(checks.look_at_permission_rules(here)) == [("pass", f"{file}: 1 rule(s)", "")]
    file.write_text('[[rules]]\neffect = "deny"\ntool = "Read"\ncommand = "ls"\n')
    [(status, says, _)] = told(checks.look_at_permission_rules(here))
    assert (status, says) == (
        "warn",
        "The rule `deny Read: exactly ls` never applies: Read runs no command.",
    )
    for broken in (b"[[rules]]\ntool = 5\n", b"\xff", b"rules = ["):
        file.write_bytes(broken)
        assert only(checks.look_at_permission_rules(here)).status == "fail"
