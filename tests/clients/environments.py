"""Each client in an environment of its own: `.clients/<name>-<hash of its pins>` in the checkout,
made when first asked for and kept. What could not be installed because no registry answered is
`Unreachable`; any other failure is one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
PINS = Path(__file__).parent / "pins"
ROOMS = CHECKOUT / ".clients"
# How pip, uv and npm say that nobody was there.
NOBODY = re.compile(
    "NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|Temporary failure in name "
    "resolution|Max retries exceeded"
    "|error sending request|dns error|[Cc]onnection refused|operation timed out"
    "|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH"
)


class Unreachable(Exception):
    """No registry answered."""


class NotInstalled(Exception):
    """Refused for a reason of its own."""


@dataclass(frozen=True)
class Pins:
    """What is installed together; the first is the client itself."""

    name: str
    kind: str  # "pypi" or "npm"
    packages: tuple[str, ...]

    @property
    def client(self) -> tuple[str, str]:
        """Its name without extras, and its version."""
        package, version = re.fullmatch(
            r"(.+?)(?:\[.*\])?(?:==|(?<=.)@)([^@]+)", self.packages[0]
        ).groups()
        return package, version

    @property
    def room(self) -> str:
        """Pins decide, and for Python the interpreter they were installed for."""
        made_of = "\n".join((*self.packages, sys.version if self.kind == "pypi" else ""))
        return f"{self.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def read_pins(name: str) -> Pins:
    [path] = [path for path in (PINS / f"{name}.pypi", PINS / f"{name}.npm") if path.exists()]
    return Pins(name, path.suffix[1:], tuple(path.read_text().split()))


def programs_of(pins: Pins, rooms: Path = ROOMS) -> Path:
    """The folder with the client's programs, installed if need be. Raises Unreachable or
    NotInstalled.
    """
    room = rooms / pins.room
    with alone(room):
        if not (room / "complete").exists():
            shutil.rmtree(room, ignore_errors=True)
            (install_from_pypi if pins.kind == "pypi" else install_from_npm)(room, pins.packages)
            (room / "complete").touch()
    return room / ("bin" if pins.kind == "pypi" else "node_modules/.bin")


@contextmanager
def alone(room: Path) -> Iterator[None]:
    """Two test processes make one environment once."""
    room.parent.mkdir(exist_ok=True)
    with (room.parent / f"{room.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install_from_pypi(room: Path, packages: Sequence[str]) -> None:
    """With uv if there is one that can reach a registry, else with pip."""
    run(
        [
            sys.executable,
            "-m",
            "venv",
            *(["--without-pip"] if (uv := shutil.which("uv")) else []),
            room,
        ]
    )
    python = room / "bin/python"
    if uv:
        try:
            run([uv, "pip", "install", "--python", python, *packages])
        except (Unreachable, NotInstalled):
            run([sys.executable, "-m", "venv", "--clear", room])
        else:
            return
    quickly = ["--disable-pip-version-check", "--retries", "1", "--timeout", "15"]
    run([python, "-m", "pip", "install", "--quiet", *quickly, *packages])


def install_from_npm(room: Path, packages: Sequence[str]) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise Unreachable("npm is not installed here.")
    room.mkdir()
    (room / "package.json").write_text('{"private": true, "type": "module"}')
    quickly = [
        "--no-fund",
        "--no-audit",
        "--no-package-lock",
        "--fetch-retries=1",
        "--fetch-retry-mintimeout=500",
    ]
    run([npm, "install", "--prefix", room, "--save-exact", *quickly, *packages])


def run(command: Sequence[str | Path]) -> None:
    environment = {**os.environ, "UV_HTTP_RETRIES": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        said = done.stdout + done.stderr
        raise (Unreachable if NOBODY.search(said) else NotInstalled)(said[-3000:])
