"""The container files where no engine runs. The services as processes:
tests/e2e/test_containers.py; on a real engine: tests/containers/.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

from ccproxy.cli.demo import MADE_UP_KEY
from shared.settings.tree import load_settings
from tests.support.compose import ROOT, dockerfile_stages, load, stage_of

COMPOSE = load("docker-compose.yml")
MONITORING = load("docker-compose.monitoring.yml", GRAFANA_PASSWORD="x")
DEMO = load("docker-compose.demo.yml")
OURS = {
    name: service
    for name, service in COMPOSE["services"].items()
    if "ccproxy-api" in service["image"]
}
RUNNING = {name: service for name, service in OURS.items() if name != "prepare"}
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
    assert service["user"] == "1000:1000"
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["restart"] == "unless-stopped"
    assert service["logging"]["options"]["max-size"]


def test_the_one_service_that_is_root_has_no_network_and_ends():
    roots = [name for name, service in OURS.items() if service["user"].startswith("0")]
    assert roots == ["prepare"]
    prepare = OURS["prepare"]
    assert prepare["network_mode"] == "none"
    assert prepare["restart"] == "no"
    assert set(prepare["cap_add"]) == {"CHOWN", "DAC_READ_SEARCH"}
    assert {service["depends_on"]["prepare"]["condition"] for service in RUNNING.values()} == {
        "service_completed_successfully"
    }


@pytest.mark.parametrize("name", RUNNING)
def test_every_service_has_a_health_check_of_its_own(name):
    service = RUNNING[name]
    program = (service.get("command") or stage_of(service)["CMD"])[0]
    expected = {"ccproxy": "gateway"}.get(
        program, program.removeprefix("ccproxy-").replace("-", "_")
    )
    assert service["healthcheck"]["test"] == ["CMD", "ccproxy-alive", expected]


@pytest.mark.parametrize("name", ["gateway", "worker", "all-in-one"])
def test_an_image_ends_as_a_user_with_the_wrapper_first_on_its_path(name):
    stage = dockerfile_stages()[name]
    assert stage["USER"] == "claude"
    assert stage["ENV"]["PATH"].split(":")[0] == "/usr/local/lib/ccproxy/bin"
    assert stage["HEALTHCHECK"][0] == "ccproxy-alive"


def test_an_image_makes_no_volume_that_nobody_named():
    assert not [
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("VOLUME")
    ]


def test_one_service_builds_each_image():
    images = [service["image"] for service in COMPOSE["services"].values() if "build" in service]
    assert sorted(images) == ["ccproxy-api:all-in-one", "ccproxy-api:gateway", "ccproxy-api:worker"]
    for name, service in OURS.items():
        assert ("build" in service) != (service.get("pull_policy") == "never"), name


def test_everything_that_a_service_keeps_lies_in_a_named_volume():
    for name, service in RUNNING.items():
        mounted = [
            volume.split(":")[1] for volume in service["volumes"] if not volume.endswith(":ro")
        ]
        for folder in service["environment"]["CCPROXY_WRITES"].split():
            assert folder in mounted, name


def test_the_permission_service_sees_the_folders_of_the_worker_and_cannot_write_them():
    targets = {volume.split(":")[1] for volume in RUNNING["sdk-worker"]["volumes"]}
    seen = [
        volume.split(":")
        for volume in RUNNING["permission-service"]["volumes"]
        if "/data/ccproxy" not in volume
    ]
    assert {target for _, target, *_ in seen} >= {"/data/home", "/data/workspace"} <= targets
    assert {mode for _, _, *modes in seen for mode in modes} == {"ro"}


def test_the_number_of_workers_is_a_variable_so_that_it_lasts():
    assert COMPOSE["services"]["sdk-worker"]["scale"] == "1"
    assert load("docker-compose.yml", SDK_WORKERS="3")["services"]["sdk-worker"]["scale"] == "3"


def test_the_simulator_of_the_demo_has_no_way_out_and_no_port():
    simulator = DEMO["services"]["simulator"]
    assert simulator["networks"] == ["demo"]
    assert DEMO["networks"]["demo"]["internal"] is True
    assert "ports" not in simulator
    assert "--internal-network" in simulator["command"]
    for name in ("claude-code-proxy", "sdk-worker"):
        environment = DEMO["services"][name]["environment"]
        assert all(
            "simulator" in value for key, value in environment.items() if key.endswith("URL")
        )


def test_every_command_is_a_program_of_the_package():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, service in {**RUNNING, "simulator": DEMO["services"]["simulator"]}.items():
        command = service.get("command") or stage_of(service)["CMD"]
        assert command[0] in scripts, name
    assert "ccproxy-alive" in scripts


def test_nothing_is_published_beyond_loopback_unless_asked():
    for compose in (COMPOSE, MONITORING, DEMO):
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
        logins = [
            volume for volume in COMPOSE["services"][name]["volumes"] if volume.startswith("~")
        ]
        assert logins
        assert not [volume for volume in logins if volume.endswith((":ro", ".json"))]


def test_the_variables_of_the_first_compose_file_still_work():
    changed = load(
        "docker-compose.yml",
        SERVER__PORT="8123",
        PUID="1001",
        PGID="1002",
        CLAUDE_HOME="/data/else",
    )
    service = changed["services"]["claude-code-proxy"]
    assert service["ports"] == ["127.0.0.1:8123:8000"]
    environment = service["environment"]
    assert (environment["PUID"], environment["PGID"], environment["CLAUDE_HOME"]) == (
        "1001",
        "1002",
        "/data/else",
    )
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
    mounts = dict(
        volume.split(":")[1::-1] for volume in MONITORING["services"]["grafana"]["volumes"]
    )
    assert list((ROOT / mounts[boards["options"]["path"]]).glob("*.json"))
    groups = load(f"{provisioning}/alerting/ccproxy.yml")["groups"]
    asked = {
        data["datasourceUid"]
        for group in groups
        for rule in group["rules"]
        for data in rule["data"]
    }
    assert asked == {source["uid"], "__expr__"}


def test_the_build_has_every_file_it_copies():
    ignored = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
        "targets"
    ]["wheel"]
    needed = [
        *packages["packages"],
        *packages.get("force-include", {}),
        "README.md",
        "LICENSE",
        "requirements.lock",
    ]
    for name in needed:
        assert name.split("/")[0] in ignored, name
        assert (ROOT / name).exists(), name
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            sources = line.split()[1:-1]
            assert all((ROOT / source).exists() for source in sources), line
            assert {source.split("/")[0] for source in sources} - {"."} <= set(ignored), line


def test_the_modules_of_every_program_are_compiled_into_the_image():
    listed = re.findall(
        r'^    "([\w.]+)",$', (ROOT / "deploy/compile.py").read_text(), re.MULTILINE
    )
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {script.partition(":")[0] for script in scripts.values()} <= set(listed)
    for name in listed:
        assert (ROOT / f"{name.replace('.', '/')}.py").is_file(), name


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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is root")
def test_the_entry_point_refuses_to_go_on_as_root(places):
    ended = entrypoint("true", **places)
    assert ended.returncode == 78
    assert "docker run --user" in ended.stderr


@pytest.fixture
def unprivileged(tmp_path):
    """A PATH on which `id` says what it says to an ordinary user: the entry point stays
    who it is.
    """
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "bin/id").chmod(0o755)
    return {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}


def test_the_entry_point_replaces_itself_so_that_signals_arrive(unprivileged, places):
    ended = entrypoint("sh", "-c", "echo $PPID", **(places | unprivileged))
    assert int(ended.stdout) == os.getpid()


def test_the_entry_point_says_where_the_home_is(unprivileged, places):
    assert (
        entrypoint("sh", "-c", "echo $HOME", **(places | unprivileged)).stdout.strip()
        == places["CLAUDE_HOME"]
    )


def test_the_entry_point_refuses_another_user_than_puid(unprivileged, places):
    ended = entrypoint("true", PUID="1234", PGID="1235", **(places | unprivileged))
    assert ended.returncode == 78
    assert "docker run --user 1234:1235" in ended.stderr
    assert entrypoint("true", PUID="1000", **(places | unprivileged)).returncode == 0


def test_the_entry_point_refuses_a_folder_that_cannot_be_written(unprivileged, places, tmp_path):
    assert (
        entrypoint("true", CCPROXY_WRITES=str(tmp_path), **(places | unprivileged)).returncode == 0
    )
    ended = entrypoint("true", CCPROXY_WRITES=f"{tmp_path} /proc/self", **(places | unprivileged))
    assert ended.returncode == 78
    assert "/proc/self cannot be written by user 1000" in ended.stderr
    assert "chown -R 1000:1000" in ended.stderr


def prepare(place: Path, **changed: str) -> subprocess.CompletedProcess[str]:
    """Run the script of `prepare` on folders below `place`, as the user of the tests."""
    for name in ("bus", "data", "home", "claude", "workspace"):
        (place / name).mkdir(exist_ok=True)
    environment = {
        "PATH": os.environ["PATH"],
        "PUID": str(os.geteuid() or 1000),
        "PGID": str(os.getegid() or 1000),
        "REDIS_PASSWORD_FILE": str(place / "bus/password"),
        "PREPARE_VOLUMES": f"{place}/data {place}/home",
        "PREPARE_FOLDERS": str(place / "claude"),
        "PREPARE_WORKSPACE": str(place / "workspace"),
    }
    script = ["sh", ROOT / "deploy/prepare.sh"]
    return subprocess.run(
        script, env=environment | changed, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("puid", "said"), [("0", "root"), ("me", "numbers"), ("", "numbers"), ("1 2", "numbers")]
)
def test_prepare_refuses_root_and_a_name(tmp_path, puid, said):
    ended = prepare(tmp_path, PUID=puid)
    assert ended.returncode == 78
    assert said in ended.stderr


def test_the_password_is_made_once_and_the_entry_point_reads_it(unprivileged, places, tmp_path):
    for _ in range(2):
        assert prepare(tmp_path).returncode == 0
    password = (tmp_path / "bus/password").read_text()
    assert len(password) == 48
    given = places | unprivileged | {"REDIS_PASSWORD_FILE": str(tmp_path / "bus/password")}
    assert (
        entrypoint("sh", "-c", "echo $REDIS__URL", **given).stdout
        == f"redis://:{password}@redis:6379/0\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_prepare_hands_a_volume_over_with_everything_in_it(tmp_path):
    assert prepare(tmp_path, PUID="1000", PGID="1000").returncode == 0
    kept = tmp_path / "data/kept"
    kept.write_text("kept")
    os.chown(kept, 1000, 1000)
    (tmp_path / "home/link").symlink_to("/etc/passwd")
    ended = prepare(tmp_path, PUID="1234", PGID="1235")
    assert "handing the volume over" in ended.stdout
    assert (kept.stat().st_uid, kept.stat().st_gid, kept.read_text()) == (1234, 1235, "kept")
    assert (tmp_path / "home/link").lstat().st_uid == 1234
    assert Path("/etc/passwd").stat().st_uid == 0
    assert (tmp_path / "workspace").stat().st_uid == 1234
    assert prepare(tmp_path, PUID="1234", PGID="1235").stdout == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_prepare_takes_a_folder_of_the_host_only_if_the_engine_has_just_made_it(tmp_path):
    ended = prepare(tmp_path, PUID="1000", PGID="1000", CCPROXY_WORKSPACE="./project")
    assert (tmp_path / "claude").stat().st_uid == 1000
    assert (tmp_path / "workspace").stat().st_uid == 1000
    (tmp_path / "workspace/file").touch()
    ended = prepare(tmp_path, PUID="1234", PGID="1234", CCPROXY_WORKSPACE="./project")
    assert (tmp_path / "workspace").stat().st_uid == 1000
    assert "workspace belongs to user 1000, and the stack runs as user 1234" in ended.stderr
    assert "set PUID to 1000" in ended.stderr


@pytest.mark.parametrize(
    ("publish", "allowed"), [("127.0.0.1", "true"), ("0.0.0.0", ""), ("", ""), ("10.0.0.1", "")]
)
def test_only_a_port_published_on_loopback_may_be_without_a_token(
    unprivileged, places, publish, allowed
):
    given = places | unprivileged | {"CCPROXY_PUBLISH": publish}
    assert (
        entrypoint("sh", "-c", "echo $SECURITY__ALLOW_OPEN_BIND", **given).stdout.strip() == allowed
    )


def test_pages_and_files_name_each_other():
    text = Path(ROOT / "docs/how-to/containers.md").read_text()
    for name in ("docker-compose.yml", "docker-compose.monitoring.yml", *COMPOSE["services"]):
        assert name in text, name


def test_the_logins_of_the_demo_are_those_that_the_simulator_takes():
    environment = DEMO["services"]["claude-code-proxy"]["environment"]
    assert environment["CLAUDE__API_KEY"] == MADE_UP_KEY
    login = json.loads((ROOT / "deploy/demo-codex-login.json").read_text())
    assert login["tokens"]["account_id"] == "demo"


@pytest.mark.parametrize("compose", [COMPOSE, DEMO], ids=["stack", "demo"])
def test_the_settings_take_the_environment_of_every_service(compose, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for service in compose["services"].values():
        with monkeypatch.context() as container:
            for name, value in service.get("environment", {}).items():
                if name != "REDIS__URL":  # the entry point fills it in
                    container.setenv(name, str(value))
            load_settings()
