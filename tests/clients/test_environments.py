"""How an installation may fail: nobody answered, or refused. Nothing here leaves the machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.clients.environments import PINS, NotInstalled, Pins, Unreachable, programs_of, read_pins
from tests.clients.table import trials

NOBODY_THERE = "http://127.0.0.1:9/"
# These try the stack or what it sends, and nobody connects them.
NO_CLIENTS = {"schemathesis", "anthropic-webhooks"}


@pytest.fixture
def no_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every installer is sent where nobody listens."""
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "NPM_CONFIG_REGISTRY"):
        monkeypatch.setenv(name, NOBODY_THERE)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NPM_CONFIG_CACHE", str(tmp_path / "npm"))
    monkeypatch.setenv("UV_NO_CACHE", "1")
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")


@pytest.mark.conformance
@pytest.mark.usefixtures("no_registry")
@pytest.mark.parametrize("kind", ["pypi", "npm"])
def test_a_registry_that_cannot_be_reached_is_told_as_such(kind: str, tmp_path: Path) -> None:
    if kind == "npm" and not shutil.which("npm"):
        pytest.skip("there is no npm here")
    package = {"pypi": "aider-chat==0.86.2", "npm": "openai@7.57.0"}[kind]
    with pytest.raises(Unreachable):
        programs_of(Pins("client", kind, (package,)), tmp_path)


@pytest.mark.conformance
@pytest.mark.usefixtures("no_registry")
def test_any_other_failure_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    with pytest.raises(NotInstalled):
        programs_of(Pins("client", "pypi", ("aider-chat==0.86.2",)), tmp_path)


def test_every_pin_has_a_page_and_names_one_version() -> None:
    pinned = {path.stem for path in PINS.iterdir()}
    assert pinned - NO_CLIENTS <= {trial.environment for trial in trials()}
    for name in pinned:
        pins = read_pins(name)
        assert all(
            ("==" if pins.kind == "pypi" else "@") in package[1:] for package in pins.packages
        )
