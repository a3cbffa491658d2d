"""What is released: a wheel and a source archive that hold everything, and work where nothing else
of the tree is.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from ccproxy import __version__
from shared.runtime.version import VERSION

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def build(kind: str, source: Path, to: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", to]
    subprocess.run(command, cwd=source, check=True, capture_output=True)
    [made] = to.iterdir()
    return made


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(archive, tmp_path_factory) -> Path:
    """Built from the source archive, as an installer without a wheel would."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as tar:
        tar.extractall(
            unpacked, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {})
        )  # from 3.11.4 on
    [source] = unpacked.iterdir()
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


def tracked(*folders: str) -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split())


def test_the_wheel_holds_every_file_of_every_package(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert tracked(*PACKAGES) <= names
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert "ccproxy/supervisord.conf" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]


def test_the_source_archive_holds_what_a_packager_needs(archive):
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {
        "LICENSE",
        "README.md",
        "Makefile",
        "requirements.lock",
        "deploy/supervisord.conf",
    } <= names
    assert not [name for name in names if name.startswith((".venv", ".git/", ".ci"))]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The wheel in a directory of its own; its dependencies are this environment's."""
    to = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--no-index", "--target", to, wheel], check=True)
    return to


def run(installed: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A console script of the installed wheel, far from the source tree."""
    script = (installed / "bin" / command[0]).read_text()
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r}); sys.argv = "
        f"{list(command)!r}\n{script}"
    )
    return subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=installed,
        env={"PATH": os.environ["PATH"], "HOME": str(installed)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_console_script_is_installed(installed):
    assert PROJECT["project"]["scripts"].keys() == {
        path.name for path in (installed / "bin").iterdir()
    }


def test_the_installed_command_says_its_version_and_shows_its_settings(installed):
    assert run(installed, "ccproxy", "--version").stdout == f"ccproxy {VERSION}\n"
    shown = run(installed, "ccproxy", "config", "show")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "SERVER__PORT\t8000" in shown.stdout


def test_what_is_read_at_run_time_is_found_in_the_wheel(installed):
    code = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import ccproxy, ccproxy.launcher.programs, analytics.store, gateway.routes.permissions\n"
        f"assert ccproxy.__file__.startswith({str(installed)!r}), ccproxy.__file__\n"
        "assert '[supervisord]' in ccproxy.launcher.programs.supervisor_configuration()\n"
    )
    subprocess.run([sys.executable, "-P", "-c", code], cwd=installed, check=True)


PYTHONS = sorted(
    each.rpartition(" ")[2] for each in PROJECT["project"]["classifiers"] if "Python :: 3." in each
)


def interpreter(version: str) -> str:
    """One that runs; skips where there is none. pyenv's may be installed without being on PATH."""
    kept = sorted(
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(
            f"versions/{version}.*/bin/python"
        )
    )
    for found in (f"python{version}", *kept):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            subprocess.run([found, "-c", "import ensurepip"], check=True, capture_output=True)
            return str(found)
    pytest.skip(f"there is no Python {version} here")


@pytest.mark.parametrize("version", PYTHONS)
def test_every_promised_python_reads_the_wheel_without_a_warning(version, wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    command = [interpreter(version), "-W", "error", "-m", "compileall", "-q", tmp_path]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.conformance
@pytest.mark.claude
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", PYTHONS)
def test_the_demo_runs_in_a_clean_environment_of_every_promised_python(version, wheel, tmp_path):
    subprocess.run([interpreter(version), "-m", "venv", tmp_path / "venv"], check=True)
    pip = [
        tmp_path / "venv/bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "--require-hashes", "-r", ROOT / "requirements-demo.lock"], check=True)
    subprocess.run([*pip, "--no-deps", wheel], check=True)
    (tmp_path / "home").mkdir()
    given = {
        "cwd": tmp_path / "home",
        "env": {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home")},
    }
    ccproxy = tmp_path / "venv/bin/ccproxy"
    assert (
        subprocess.check_output([ccproxy, "--version"], text=True, **given)
        == f"ccproxy {VERSION}\n"
    )
    demo = [ccproxy, "demo", "--once", "--port", "0"]
    ended = subprocess.run(demo, capture_output=True, text=True, check=False, **given)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_there_is_one_version():
    assert PROJECT["project"]["version"] == __version__ == VERSION


def test_the_forge_runs_what_a_newcomer_runs():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["test"]["steps"]]
    assert any(step.startswith("make test") for step in steps)
    tested = set(workflow["jobs"]["test"]["strategy"]["matrix"]["python"])
    assert tested == set(PYTHONS)


@pytest.mark.parametrize("name", ["ci.yml", "release.yml"])
def test_a_workflow_uses_actions_of_a_fixed_commit(name):
    workflow = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert not [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)]
