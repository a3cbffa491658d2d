from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from ccproxy.launcher.programs import (
    SCRIPTS,
    Places,
    child_environment,
    find_script,
    installed_commands,
    program_sections,
    supervisor_configuration,
    worker_numbers,
    worker_sections,
)
from shared.accounts.login import EXCHANGE_SECONDS
from shared.runtime.alive_file import HEARTBEAT_SOCKET
from shared.settings.problems import ConfigurationError
from shared.settings.tree import load_settings

COMMANDS = {name: ["/opt/with space/" + script] for name, script in SCRIPTS.items()}


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECURITY__AUTH_TOKEN", "s3cret")
    monkeypatch.setenv("server__port", "1")
    return load_settings(server={"shutdown_grace_seconds": 4.5, "workers": 2})


@pytest.fixture
def environment(settings):
    places = Places(
        Path("/run/it"),
        Path("/run/it"),
        Path("/state/redis"),
        8123,
        "unix:///run/it/redis.sock",
        Path("/bin/valkey"),
    )
    return child_environment(settings, places, COMMANDS)


def test_every_placeholder_of_the_configuration_is_filled(environment):
    text = (
        supervisor_configuration()
        + worker_sections(range(2))
        + program_sections({"simulator": ["sim"]})
    )
    named = {part.split(")")[0] for part in text.split("%(ENV_")[1:]}
    assert named - {"CCPROXY_COMMAND_SIMULATOR"} <= set(environment)


def test_the_configuration_names_no_secret(environment):
    text = supervisor_configuration()
    assert "s3cret" not in text
    assert "SECURITY" not in text
    assert environment["SUPERVISOR_PASSWORD"] not in text


def test_secrets_reach_the_children_and_what_we_decide_wins(environment):
    assert environment["SECURITY__AUTH_TOKEN"] == "s3cret"
    assert environment["SERVER__PORT"] == "8123"
    assert "server__port" not in environment


def test_a_slow_stop_gets_its_time_before_the_kill(environment):
    assert environment["CCPROXY_STOP_SECONDS"] == "7"


def test_a_gateway_gets_the_time_of_a_whole_renewal_before_the_kill(environment):
    assert float(environment["CCPROXY_GATEWAY_STOP_SECONDS"]) > 7 + EXCHANGE_SECONDS
    assert float(environment["CCPROXY_GATEWAY_LEAVE_SECONDS"]) > 7 + EXCHANGE_SECONDS + 30
    gateway = supervisor_configuration().partition("[fcgi-program:gateway]")[2]
    assert "stopwaitsecs=%(ENV_CCPROXY_GATEWAY_LEAVE_SECONDS)s" in gateway


def test_commands_are_quoted(environment):
    assert environment["CCPROXY_COMMAND_GATEWAY"] == "'/opt/with space/ccproxy-gateway'"


def test_each_control_password_is_new(settings):
    places = Places(Path("/run/it"), Path("/run/it"), Path("/state/redis"), 1, "", None)
    passwords = {
        child_environment(settings, places, COMMANDS)["SUPERVISOR_PASSWORD"] for _ in range(3)
    }
    assert len(passwords) == 3


def test_another_redis_is_not_started(settings):
    places = Places(
        Path("/run/it"), Path("/run/it"), Path("/state/redis"), 1, "redis://elsewhere", None
    )
    assert child_environment(settings, places, COMMANDS)["CCPROXY_OWN_REDIS"] == "false"


def test_each_worker_is_a_program_of_its_own():
    parser = configparser.RawConfigParser()
    text = worker_sections([0, 1, 12])
    parser.read_string(text + "\n" + program_sections({"simulator": ["sim"]}))
    assert parser.sections() == [f"program:sdk_worker_{n:02d}" for n in (0, 1, 12)] + [
        "program:simulator"
    ]
    assert worker_numbers(text) == [0, 1, 12]
    assert parser["program:simulator"]["command"] == "%(ENV_CCPROXY_COMMAND_SIMULATOR)s"


def test_no_worker_is_a_valid_wish():
    assert worker_sections([]) == program_sections({}) == ""


def test_the_programs_of_this_installation_are_found():
    assert all(Path(command[0]).is_file() for command in installed_commands().values())


def test_a_missing_program_says_so():
    with pytest.raises(ConfigurationError, match="ccproxy-nothing is missing"):
        find_script("ccproxy-nothing")


def test_the_services_owe_heartbeats_and_other_programs_do_not():
    parser = configparser.RawConfigParser()
    parser.read_string(
        supervisor_configuration()
        + worker_sections([0])
        + "\n"
        + program_sections({"simulator": ["sim"]})
    )
    sections = [name for name in parser.sections() if parser.has_option(name, "environment")]
    owing = {name for name in sections if f"{HEARTBEAT_SOCKET}=" in parser[name]["environment"]}
    assert owing == {
        "fcgi-program:gateway",
        "program:analytics",
        "program:permission_service",
        "program:sdk_worker_00",
    }
    assert {"program:redis", "program:simulator", "eventlistener:listener"} <= set(sections)
