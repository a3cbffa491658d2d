"""What is released: a wheel and a source archive that hold everything, and work where nothing else
of the tree is.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

from shared.runtime.version import VERSION
from tests.support.documented import scripts

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


def test_two_builds_of_the_wheel_have_the_same_bytes(wheel, tmp_path):
    """One is built from the source archive, one from the checkout."""
    assert build("wheel", ROOT, tmp_path).read_bytes() == wheel.read_bytes()


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


def test_the_wheel_carries_the_version_of_the_running_program(wheel):
    assert wheel.name.startswith(f"ccproxy_stack-{VERSION}-")


def test_no_index_can_hold_the_distribution_or_replace_it():
    """An index refuses local versions and this classifier; the predecessor's name is another's."""
    assert "+" in VERSION
    assert "Private :: Do Not Upload" in PROJECT["project"]["classifiers"]
    assert PROJECT["project"]["name"] != "ccproxy-api"


def test_the_forge_runs_what_a_newcomer_runs():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    steps = [step.get("run", "") for step in workflow["jobs"]["test"]["steps"]]
    assert any(step.startswith("make test") for step in steps)
    tested = set(workflow["jobs"]["test"]["strategy"]["matrix"]["python"])
    assert tested == set(PYTHONS)


def test_every_test_that_make_test_leaves_out_runs_each_night_and_before_a_release():
    workflow = yaml.safe_load((ROOT / ".github/workflows/proofs.yml").read_text())
    makefile = (ROOT / "Makefile").read_text()
    targets = workflow["jobs"]["proofs"]["strategy"]["matrix"]["target"]
    recipes = {
        target: re.search(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
        for target in targets
    }
    run = "".join(found[1] for found in recipes.values() if found)
    [left_out] = re.findall(r"-m '([^']+)'", PROJECT["tool"]["pytest"]["ini_options"]["addopts"])
    # `make faults` names the folder, and leaves out only what `make soak` runs.
    for mark in set(re.findall(r"not (\w+)", left_out)) - {"faults"}:
        assert re.search(rf"-m {mark}\b", run), mark
    assert 'tests/faults -m "not soak"' in run
    release = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())
    assert release["jobs"]["release"]["needs"] == "proofs"


@pytest.mark.parametrize("name", ["ci.yml", "proofs.yml", "release.yml"])
def test_a_workflow_uses_actions_of_a_fixed_commit(name):
    workflow = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    steps = [step for job in workflow["jobs"].values() for step in job.get("steps", ())]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert not [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)]


PREFIX = Path(".local")


@pytest.fixture
def home(tmp_path) -> Path:
    """An empty home, but for a venv where `make install` puts its own; the venv has the packages of
    this environment, so that no index is asked.
    """
    program = tmp_path / PREFIX / "lib/ccproxy"
    subprocess.run([sys.executable, "-m", "venv", program], check=True)
    [packages] = program.glob("lib/python*/site-packages")
    (packages / "present.pth").write_text(sysconfig.get_path("purelib"))
    return tmp_path


def make(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments, f"PYTHON={sys.executable}"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.long
@pytest.mark.timeout(240)
def test_the_readme_installs_the_command_in_an_empty_home_and_removes_it(home):
    [script] = [each for each in scripts(ROOT / "README.md") if "make install" in each]
    [command] = re.findall(r"^make install", script, re.MULTILINE)
    installed = make(home, *command.split()[1:])
    assert installed.returncode == 0, installed.stderr
    assert "to your PATH" in installed.stdout
    alone = {"PATH": f"{home / PREFIX / 'bin'}:/usr/bin:/bin", "HOME": str(home)}
    said = subprocess.check_output(["ccproxy", "--version"], cwd=home, env=alone, text=True)
    assert said == f"ccproxy {VERSION}\n"
    assert make(home, "install").returncode == 0  # a second one renews the first
    assert make(home, "uninstall").returncode == 0
    assert not [path for path in (home / PREFIX).rglob("*") if not path.is_dir()]


def test_an_installation_does_not_replace_a_command_of_another_program(tmp_path):
    other = tmp_path / PREFIX / "bin/ccproxy"
    other.parent.mkdir(parents=True)
    other.write_text("another program")
    refused = make(tmp_path, "install")
    assert refused.returncode != 0
    assert f"{other} belongs to another installation" in refused.stderr
    assert make(tmp_path, "uninstall").returncode == 0
    assert other.read_text() == "another program"


def test_no_page_and_no_message_installs_a_package_by_name():
    """The name on the index is another program's: docs/decisions/0065-a-name-no-index-has.md."""
    named = re.compile(r"(?<!un)install[^`\n]*[\s'\"]ccproxy-(?:api|stack)\b")
    texts = [*ROOT.glob("*.md"), *ROOT.glob("examples/*"), *ROOT.glob("docs/**/*.md")]
    sources = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    wrong = [
        str(path.relative_to(ROOT))
        for path in (*texts, *sources)
        if path.parent.name != "decisions" and named.search(path.read_text())
    ]
    assert not wrong
