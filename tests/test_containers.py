"""What can be proved about containers where no engine runs; the services as processes: tests/e2e/test_containers.py."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.compose import ROOT, dockerfile_stages, load

COMPOSE = load("docker-compose.yml")
MONITORING = load("docker-compose.monitoring.yml", GRAFANA_PASSWORD="x")
OURS = {name: service for name, service in COMPOSE["services"].items() if "ccproxy-api" in service["image"]}
RUNNING = {name: service for name, service in OURS.items() if name != "bus-password"}
SCRIPTS = sorted((ROOT / "deploy").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_portable_shell_and_can_be_run(script):
    subprocess.run(["sh", "-n", script], check=True)
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/bin/sh\n")
    if dash := shutil.which("dash"):
        subprocess.run([dash, "-n", script], check=True)


@pytest.mark.parametrize("compose", [COMPOSE, MONITORING], ids=["stack", "monitoring"])
def test_every_name_a_service_uses_is_declared(compose):
    for name, service in compose["services"].items():
        assert set(service.get("networks", [])) <= compose["networks"].keys(), name
        assert set(service.get("depends_on", [])) <= compose["services"].keys(), name
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            assert target.startswith("/"), volume
            assert mode in ([], ["ro"]), volume
            if source.startswith("./"):
                assert (ROOT / source).exists(), source
            elif not source.startswith("~"):
                assert source in compose["volumes"], source


@pytest.mark.parametrize("name", RUNNING)
def test_a_service_is_confined(name):
    service = RUNNING[name]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"]["max-size"]


@pytest.mark.parametrize("name", RUNNING)
def test_every_service_has_a_health_check_of_its_own(name):
    service = RUNNING[name]
    stage = dockerfile_stages()[service["build"]["target"]]
    test = service["healthcheck"]["test"][1:] if "healthcheck" in service else stage["HEALTHCHECK"]
    program = (service.get("command") or stage["CMD"])[0]
    expected = {"ccproxy": "gateway"}.get(program, program.removeprefix("ccproxy-").replace("-", "_"))
    assert test == ["ccproxy", "alive", expected]


def test_every_command_is_a_program_of_the_package():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, service in RUNNING.items():
        command = service.get("command") or dockerfile_stages()[service["build"]["target"]]["CMD"]
        assert command[0] in scripts, name


def test_nothing_is_published_beyond_loopback_unless_asked():
    for compose in (COMPOSE, MONITORING):
        for service in compose["services"].values():
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    opened = load("docker-compose.yml", CCPROXY_PUBLISH="0.0.0.0", SERVER__PORT="8001")
    gateway = opened["services"]["claude-code-proxy"]
    assert gateway["ports"] == ["0.0.0.0:8001:8000"]
    assert gateway["environment"]["CCPROXY_PUBLISH"] == "0.0.0.0"


def test_the_bus_has_no_way_out_and_no_port():
    assert COMPOSE["networks"]["bus"]["internal"] is True
    redis = COMPOSE["services"]["redis"]
    assert redis["networks"] == ["bus"]
    assert "ports" not in redis
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == [
        "claude-code-proxy",
        "ccproxy",
    ]


def test_logins_are_mounted_as_writable_directories():
    for name in ("claude-code-proxy", "sdk-worker", "ccproxy"):
        logins = [volume for volume in COMPOSE["services"][name]["volumes"] if volume.startswith("~")]
        assert logins
        assert not [volume for volume in logins if volume.endswith((":ro", ".json"))]


def test_the_variables_of_the_first_compose_file_still_work():
    changed = load("docker-compose.yml", SERVER__PORT="8123", PUID="1001", PGID="1002", CLAUDE_HOME="/data/else")
    service = changed["services"]["claude-code-proxy"]
    assert service["ports"] == ["127.0.0.1:8123:8000"]
    environment = service["environment"]
    assert (environment["PUID"], environment["PGID"], environment["CLAUDE_HOME"]) == ("1001", "1002", "/data/else")
    assert service["env_file"] == [{"path": ".env", "required": False}]


def test_grafana_has_no_password_that_works_by_default():
    with pytest.raises(ValueError, match="GRAFANA_PASSWORD"):
        load("docker-compose.monitoring.yml")
    assert MONITORING["services"]["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"] == "x"


def test_what_is_scraped_is_where_the_gateway_is():
    target = load("monitoring/scrape.yml")["scrape_configs"][0]["static_configs"][0]["targets"][0]
    name, _, port = target.partition(":")
    gateway = COMPOSE["services"][name]
    assert gateway["ports"][0].endswith(f":{port}")
    assert "monitoring" in gateway["networks"]
    assert name in gateway["environment"]["SECURITY__ALLOWED_HOSTS"]


def test_grafana_finds_its_source_and_its_boards():
    provisioning = "monitoring/grafana/provisioning"
    [source] = load(f"{provisioning}/datasources/victoria-metrics.yml")["datasources"]
    host, port = source["url"].removeprefix("http://").split(":")
    assert f"127.0.0.1:{port}:{port}" in MONITORING["services"][host]["ports"]
    [boards] = load(f"{provisioning}/dashboards/ccproxy.yml")["providers"]
    mounts = dict(volume.split(":")[1::-1] for volume in MONITORING["services"]["grafana"]["volumes"])
    assert list((ROOT / mounts[boards["options"]["path"]]).glob("*.json"))
    groups = load(f"{provisioning}/alerting/ccproxy.yml")["groups"]
    asked = {data["datasourceUid"] for group in groups for rule in group["rules"] for data in rule["data"]}
    assert asked == {source["uid"], "__expr__"}


def test_the_build_has_every_file_it_copies():
    ignored = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = [*packages["packages"], *packages.get("force-include", {}), "README.md", "LICENSE", "requirements.lock"]
    for name in needed:
        assert name.split("/")[0] in ignored, name
        assert (ROOT / name).exists(), name
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            sources = line.split()[1:-1]
            assert all((ROOT / source).exists() for source in sources), line
            assert {source.split("/")[0] for source in sources} - {"."} <= set(ignored), line


def entrypoint(*command, **environment):
    return subprocess.run(
        ["sh", ROOT / "deploy/entrypoint.sh", *command],
        env={"PATH": os.environ["PATH"]} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def places(tmp_path):
    """Directories that another user may enter."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory.stat().st_uid == os.geteuid() and str(directory).startswith("/tmp/"):
            directory.chmod(directory.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
    return {"CLAUDE_HOME": str(tmp_path / "data/home"), "XDG_DATA_HOME": str(tmp_path / "data")}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_entry_point_becomes_the_user_it_was_told_and_owns_its_home(places):
    ended = entrypoint("sh", "-c", "id -u; id -g; touch $HOME/mine && echo $HOME", PUID="12345", PGID="12346", **places)
    assert ended.stdout.split() == ["12345", "12346", places["CLAUDE_HOME"]]
    again = entrypoint("sh", "-c", "touch $HOME/again && echo yes", PUID="12345", PGID="12346", **places)
    assert again.stdout == "yes\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(("puid", "said"), [("0", "root"), ("me", "numbers")])
def test_the_entry_point_refuses_to_go_on_as_root_or_as_a_name(places, puid, said):
    ended = entrypoint("true", PUID=puid, **places)
    assert ended.returncode == 78
    assert said in ended.stderr


@pytest.fixture
def unprivileged(tmp_path):
    """A PATH on which `id` says what it says to an ordinary user: the entry point stays who it is."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "bin/id").chmod(0o755)
    return {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}


def test_the_entry_point_replaces_itself_so_that_signals_arrive(unprivileged, places):
    ended = entrypoint("sh", "-c", "echo $PPID", **(places | unprivileged))
    assert int(ended.stdout) == os.getpid()


def test_the_password_of_the_bus_comes_from_its_file(unprivileged, places, tmp_path):
    file = tmp_path / "password"
    made = {"REDIS_PASSWORD_FILE": str(file), "PATH": os.environ["PATH"]}
    for _ in range(2):
        subprocess.run(["sh", ROOT / "deploy/make-password.sh"], env=made, check=True)
    password = file.read_text()
    assert len(password) == 48
    given = places | unprivileged | {"REDIS_PASSWORD_FILE": str(file)}
    assert entrypoint("sh", "-c", "echo $REDIS__URL", **given).stdout == f"redis://:{password}@redis:6379/0\n"


@pytest.mark.parametrize(("publish", "allowed"), [("127.0.0.1", "true"), ("0.0.0.0", ""), ("", ""), ("10.0.0.1", "")])
def test_only_a_port_published_on_loopback_may_be_without_a_token(unprivileged, places, publish, allowed):
    given = places | unprivileged | {"CCPROXY_PUBLISH": publish}
    assert entrypoint("sh", "-c", "echo $SECURITY__ALLOW_OPEN_BIND", **given).stdout.strip() == allowed


def test_pages_and_files_name_each_other():
    text = Path(ROOT / "docs/how-to/containers.md").read_text()
    for name in ("docker-compose.yml", "docker-compose.monitoring.yml", *COMPOSE["services"]):
        assert name in text, name
