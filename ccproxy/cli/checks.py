"""The checks of this machine. Each check yields findings; a check without a problem says so, with
the facts it found.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import stat
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ccproxy.cli.config import retired_variables
from ccproxy.cli.found_stack import FoundStack
from ccproxy.launcher.listening import OPEN_FILES, Unavailable, listen
from ccproxy.launcher.redis_server import find_server, program_version
from shared.accounts.claude import ClaudeIssuer
from shared.accounts.codex import CodexIssuer
from shared.permissions.rules import rule_problems
from shared.permissions.rules_text import read_rules_text, rules_of
from shared.runtime.errors import CCProxyError, ClientError
from shared.settings.files import ENV_FILE, origins_here, toml_file, toml_files
from shared.settings.tree import Settings, foreign_addresses

MEBIBYTE = 1024 * 1024
CLAUDE_BYTES = 210 * MEBIBYTE  # resident memory of one idle `claude` process, measured
STACK_BYTES = 350 * MEBIBYTE  # everything else


Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of a check: the subject, the state, and the remedy for a bad state."""

    about: str
    status: Status
    says: str
    fix: str = ""


class Machine:
    """The machine under examination. `proc` and `cgroup` are Linux' folders about itself.

    `stack` is the stack that `ccproxy.cli.status.find_running` found, None while none runs.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        proc: Path = Path("/proc"),
        cgroup: Path = Path("/sys/fs/cgroup"),
        stack: FoundStack | None = None,
    ) -> None:
        self.settings = settings
        self.proc = proc
        self.cgroup = cgroup
        self.stack = stack

    @property
    def running(self) -> str:
        """Return the address of the running stack; empty while none runs."""
        return self.stack.url if self.stack else ""

    @property
    def runs_in_parts(self) -> bool:
        """Return True if the running stack belongs to a different run directory: the stack's parts
        are in containers.
        """
        return self.stack is not None and self.stack.pid is None


def look_at_configuration() -> Iterator[Finding]:
    file = toml_file()
    yield Finding(
        "configuration", "pass", f"can be used ({file or 'no file: environment and defaults'})"
    )
    for sentence in retired_variables(origins_here()):
        yield Finding(
            "configuration",
            "warn",
            sentence,
            "Remove it; docs/upgrade.md lists what took its place.",
        )


def look_at_secret_files(_: Machine) -> Iterator[Finding]:
    """Check that only the owner can read the files with tokens."""
    for file in (*toml_files(), Path(ENV_FILE)):
        if (
            file.exists()
            and file.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
            and holds_secret(file.read_text())
        ):
            yield Finding(
                "configuration",
                "warn",
                f"{file} holds a secret and others can read it",
                f"chmod 600 {file}",
            )


def holds_secret(text: str) -> bool:
    return bool(
        re.search(r"(?im)^\s*[\w.]*(auth_token|api_key|password|redis__url)\s*=\s*\S", text)
    )


def look_at_provider_addresses(machine: Machine) -> Iterator[Finding]:
    """Yield a finding for every address that gets credentials and is not the provider's own."""
    for name, url in foreign_addresses(machine.settings):
        says = f"{name}: your credentials go to {url}, which is not the provider's own address"
        yield Finding(
            "provider address",
            "warn",
            says,
            "Unset it, unless you mean a stand-in or a relay of your own.",
        )


def look_at_notifications(machine: Machine) -> Iterator[Finding]:
    """Yield the ways of notifications, and the reason why a message has no buttons."""
    notify = machine.settings.notify
    ways = {"ntfy": notify.ntfy_topic, "webhook": notify.webhook_url}
    names = [name for name, value in ways.items() if value is not None]
    if not names:
        return
    if notify.ntfy_topic is not None and notify.public_url is None:
        yield Finding(
            "notifications",
            "warn",
            "ntfy sends messages without Allow and Deny: your phone's address of this gateway is "
            "not known",
            "Set NOTIFY__PUBLIC_URL; `ccproxy notify test` then sends a message.",
        )
        return
    yield Finding("notifications", "pass", f"by {' and '.join(names)}; try `ccproxy notify test`")


def look_at_permission_rules(machine: Machine) -> Iterator[Finding]:
    """Yield the problem of the rules file, and the rules that never apply."""
    file = machine.settings.security.permission_rules_file.expanduser()
    try:
        content = read_rules_text(file.read_text())
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        yield Finding(
            "permission rules",
            "fail",
            f"{file} cannot be read: {error}",
            "Make it a readable UTF-8 file.",
        )
    except ClientError as error:
        says = f"{file} cannot be used, so no rule allows anything: {error.message}"
        yield Finding(
            "permission rules",
            "fail",
            says,
            "Mend the file; docs/how-to/permissions.md shows its form.",
        )
    else:
        rules = [*content.rules, *rules_of(content.profiles.values())]
        notes = rule_problems(rules)
        for sentence in notes:
            yield Finding(
                "permission rules", "warn", sentence, f"Change or remove the rule in {file}."
            )
        if not notes:
            yield Finding("permission rules", "pass", f"{file}: {len(rules)} rule(s)")


def look_at_user(_: Machine) -> Iterator[Finding]:
    if os.geteuid() == 0:
        yield Finding(
            "user",
            "warn",
            "this is root: Claude's tools may do anything to this machine, and `claude` refuses to "
            "skip permissions",
            "Run it as a user of its own.",
        )


def look_at_port(machine: Machine) -> Iterator[Finding]:
    server = machine.settings.server
    if machine.running:
        yield Finding("port", "pass", f"CCProxy runs at {machine.running}")
        return
    try:
        listen(server.host, server.port).close()
    except Unavailable as error:
        yield Finding("port", "fail", error.message, "End the other program, or set SERVER__PORT.")
    except CCProxyError as error:
        yield Finding("port", "fail", error.message)
    else:
        yield Finding("port", "pass", f"{server.host}:{server.port} is free")


def look_at_redis_program(machine: Machine) -> Iterator[Finding]:
    if machine.settings.redis.url is not None:
        return
    try:
        binary = find_server(machine.settings.redis)
    except CCProxyError as error:
        yield Finding(
            "redis", "fail", error.message, "Or set REDIS__URL to a server that runs already."
        )
        return
    version = program_version(binary) or ()
    yield Finding("redis", "pass", f"{binary}, version {'.'.join(map(str, version))}")


def look_at_login_files(machine: Machine) -> Iterator[Finding]:
    """Find copies of logins, and mounts of single files."""
    mounts = mount_points(machine.proc)
    for issuer in (ClaudeIssuer(machine.settings.claude), CodexIssuer(machine.settings.codex)):
        files = [path for path in issuer.files if path.is_file()]
        for path in files:
            if str(path.resolve()) in mounts:
                yield Finding(
                    f"{issuer.name} login",
                    "warn",
                    f"{path} is mounted as a single file: a renewal elsewhere replaces it, and the "
                    "mount keeps the old",
                    f"Mount the directory {path.parent}, writable, instead of the file.",
                )
        folder = unwritable_folder(issuer.files[0].parent)
        if not files and folder is not None:
            yield Finding(
                f"{issuer.name} login",
                "warn",
                f"{folder} cannot be written by user {os.geteuid()}: a login made here cannot be "
                "kept",
                f"On the host: `sudo chown -R {os.geteuid()}:{os.getegid()}` the folder, and mount "
                "it writable.",
            )
        for path, other in copies(files):
            yield Finding(
                f"{issuer.name} login",
                "warn",
                f"{path} and {other} hold the same login: whoever renews one first makes the other "
                "worthless",
                f"Keep one of them: remove {other}, or name the right one in the settings.",
            )


def unwritable_folder(folder: Path) -> Path | None:
    """Return the nearest existing folder at or above `folder` if this process may not write there,
    else None.
    """
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return None if os.access(folder, os.W_OK | os.X_OK) else folder


def copies(files: list[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield pairs of different files with the same refresh token. A refresh token can be spent only
    once.
    """
    first: dict[str, Path] = {}
    for path in files:
        for token in refresh_tokens(path):
            if first.setdefault(token, path).resolve() != path.resolve():
                yield first[token], path


def refresh_tokens(path: Path) -> list[str]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    sections = (
        [section for section in content.values() if isinstance(section, dict)] if content else []
    )
    found = [section.get(key) for section in sections for key in ("refreshToken", "refresh_token")]
    return [token for token in found if isinstance(token, str) and token]


def mount_points(proc: Path) -> set[str]:
    try:
        return {
            line.split()[4].replace("\\040", " ")
            for line in (proc / "self/mountinfo").read_text().splitlines()
        }
    except OSError:
        return set()


def look_at_records(machine: Machine) -> Iterator[Finding]:
    """Check the DuckDB file for a lock of a foreign program. Such a lock would keep
    analytics out.
    """
    path = machine.settings.observability.duckdb_path
    if machine.running or not machine.settings.observability.enabled:
        return
    try:
        with path.open("r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return
    except BlockingIOError:
        yield Finding(
            "records",
            "fail",
            f"{path} is open in another program",
            "Close it, or set another file: OBSERVABILITY__DUCKDB_PATH.",
        )
    except OSError as error:
        yield Finding(
            "records",
            "fail",
            f"{path}: {error.strerror}",
            "Make it writable, or set OBSERVABILITY__DUCKDB_PATH.",
        )
    else:
        yield Finding("records", "pass", f"{path} can be opened")


def look_at_memory(machine: Machine) -> Iterator[Finding]:
    sdk = machine.settings.sdk
    available = available_bytes(machine)
    if available is None or machine.running:
        return
    wanted = STACK_BYTES + sdk.workers * (sdk.pool_size if sdk.enable_pool else 1) * CLAUDE_BYTES
    says = (
        f"{available // MEBIBYTE} MiB are free, and {wanted // MEBIBYTE} MiB are wanted for "
        f"{sdk.workers} SDK worker(s)"
    )
    if wanted > available:
        fix = (
            f"Lower SDK__POOL_SIZE (now {sdk.pool_size}) or SDK__WORKERS: each ready `claude` "
            "takes about 200 MiB."
        )
        yield Finding("memory", "warn", says, fix)
    else:
        yield Finding("memory", "pass", says)


def available_bytes(machine: Machine) -> int | None:
    """Return the memory left on this machine or in this container; None if unknown."""
    free = []
    try:
        match = re.search(r"(?m)^MemAvailable:\s+(\d+) kB", (machine.proc / "meminfo").read_text())
        free += [int(match[1]) * 1024] if match else []
        limit, used = (
            (machine.cgroup / name).read_text().strip() for name in ("memory.max", "memory.current")
        )
        free += [int(limit) - int(used)] if limit != "max" else []
    except (OSError, ValueError):
        pass
    return min(free, default=None)


def look_at_open_files(_: Machine) -> Iterator[Finding]:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < OPEN_FILES:
        fix = f"Raise the limit (`ulimit -Hn {OPEN_FILES}`, LimitNOFILE= of the service)."
        yield Finding(
            "open files", "warn", f"at most {hard}: about {hard // 2} requests at once", fix
        )


def look_at_python(_: Machine) -> Iterator[Finding]:
    yield Finding("python", "pass", f"{sys.version.split()[0]} in {sys.prefix}")


HERE: Iterable[Callable[[Machine], Iterator[Finding]]] = (
    look_at_python,
    look_at_user,
    look_at_secret_files,
    look_at_provider_addresses,
    look_at_permission_rules,
    look_at_notifications,
    look_at_port,
    look_at_redis_program,
    look_at_login_files,
    look_at_records,
    look_at_memory,
    look_at_open_files,
)
