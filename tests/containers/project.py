"""One Compose project on a real engine: the repository's compose files in a folder of their own,
with a `.env`.

The folder holds copies, so that no `.env`, login or workspace of the repository's owner takes part.
Images are built before, by `build_image`; a caller sets DOCKER_BUILDKIT or BUILD_NETWORK where the
machine needs them.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from tests.support.compose import ROOT

FILES = ("docker-compose.yml", "docker-compose.demo.yml")
MADE_UP_LOGINS = ("CLAUDE__API_KEY:", "CODEX__AUTH_FILE:")
UP_SECONDS = 180
COMMAND_SECONDS = 120
WAIT_SECONDS = 40.0
POLL_SECONDS = 0.2
MEGABYTE = 1_000_000
MODEL = "claude-sonnet-4-5"
CODEX_MODEL = "gpt-5.5"


def docker(
    *arguments: str, check: bool = True, timeout: float = COMMAND_SECONDS, **options: Any
) -> str:
    """Run `docker` and return its output. Raises AssertionError with everything it said when it
    fails.
    """
    ended = subprocess.run(
        ["docker", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
        **options,
    )
    assert not check or ended.returncode == 0, (
        f"docker {' '.join(arguments)}:\n{ended.stdout}{ended.stderr}"
    )
    return ended.stdout


def why_no_engine() -> str:
    """Return why no containers can be run here, or an empty string."""
    if not shutil.which("docker"):
        return "no `docker` was found on PATH"
    try:
        docker("info", timeout=20)
        docker("compose", "version", timeout=20)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return f"no engine with Compose answers: {error}"
    return ""


def build_image(target: str, context: Path = ROOT, *, tag: str = "") -> str:
    """Build the Dockerfile's `target` and return the image's name."""
    name = tag or f"ccproxy-api:{target}"
    wanted = ["--target", target] if target else []
    network = os.environ.get("BUILD_NETWORK", "default")
    docker(
        "build", "--quiet", "--network", network, *wanted, "--tag", name, str(context), timeout=600
    )
    return name


def image_bytes(name: str) -> int:
    """Return the size of an image as the engine tells it."""
    return int(docker("image", "inspect", "--format", "{{.Size}}", name))


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until(condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Return when `condition` holds; fail with `what` after `seconds`."""
    late = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < late, f"waited {seconds} s for {what}"
        time.sleep(POLL_SECONDS)


class Project:
    """The stack of the compose files in `folder`, which becomes the project's folder."""

    def __init__(self, folder: Path, name: str, *files: str, **variables: str) -> None:
        self.folder, self.name = folder, name
        self.files = [*FILES, *files]
        self.port = free_port()
        self.variables = {
            "SERVER__PORT": str(self.port),
            "CLAUDE_DIR": "./logins/claude",
            "CODEX_DIR": "./logins/codex",
            "SDK__POOL_SIZE": "1",
            "GRAFANA_PASSWORD": "made-up",
            **variables,
        }
        for source in ("deploy", "monitoring"):
            shutil.copytree(ROOT / source, folder / source)
        for path in ROOT.glob("docker-compose*.yml"):
            shutil.copy(path, folder)
        self.set()

    def take_away_the_made_up_logins(self) -> None:
        """Leave the demo's simulator, and none of its logins: they are for those who do
        not log in.
        """
        file = self.folder / "docker-compose.demo.yml"
        lines = file.read_text().splitlines(keepends=True)
        file.write_text(
            "".join(line for line in lines if not line.strip().startswith(MADE_UP_LOGINS))
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def set(self, **variables: str) -> None:
        """Change variables of `.env`, as an owner does."""
        self.variables |= variables
        lines = [f"{name}={value}\n" for name, value in self.variables.items()]
        (self.folder / ".env").write_text("".join(lines))

    def command(self, *arguments: str) -> list[str]:
        files = [part for name in self.files for part in ("-f", name)]
        return ["docker", "compose", "-p", self.name, "--ansi", "never", *files, *arguments]

    def compose(self, *arguments: str, check: bool = True, timeout: float = COMMAND_SECONDS) -> str:
        """Run `docker compose` in the project's folder and return its output."""
        environment = {
            name: value for name, value in os.environ.items() if name not in self.variables
        }
        return docker(
            *self.command(*arguments)[1:],
            check=check,
            timeout=timeout,
            cwd=self.folder,
            env=environment,
        )

    def up(self, *services: str) -> None:
        """Start or change the stack and wait until every container is healthy."""
        try:
            self.compose("up", "-d", "--wait", *services, timeout=UP_SECONDS)
        except AssertionError as error:
            raise AssertionError(
                f"{error}\n{self.compose('logs', '--tail', '20', check=False)}"
            ) from None

    def execute(self, service: str, *command: str, check: bool = True) -> str:
        """Run a command in a service's container, as `docker compose exec` does for an owner."""
        return self.compose("exec", "-T", service, *command, check=check)

    def containers(self, *services: str, everything: bool = False) -> list[dict[str, Any]]:
        """Return what `docker compose ps` says of each container."""
        told = self.compose("ps", "--format", "json", *(["--all"] if everything else []), *services)
        return [json.loads(line) for line in told.splitlines() if line.startswith("{")]

    def exit_codes(self) -> dict[str, int]:
        """Return the exit code of each service's ended container."""
        return {each["Service"]: each["ExitCode"] for each in self.containers(everything=True)}

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.url}{path}", timeout=30, trust_env=False).json()

    def ask(self, door: str, words: str, model: str = MODEL) -> httpx.Response:
        """Send one whole Messages request that the simulator answers with `words`."""
        message = {"role": "user", "content": f"[[say:{words}]]"}
        body = {"model": model, "max_tokens": 100, "messages": [message]}
        return httpx.post(f"{self.url}/{door}/v1/messages", json=body, timeout=60, trust_env=False)

    @contextlib.contextmanager
    def open_stream(self, words: str) -> Iterator[http.client.HTTPResponse]:
        """Begin a streamed `/sdk` request and yield the reply, to be read to its end."""
        message = {"role": "user", "content": words}
        body = {"model": MODEL, "max_tokens": 200, "stream": True, "messages": [message]}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        with contextlib.closing(connection):
            connection.request(
                "POST", "/sdk/v1/messages", json.dumps(body), {"content-type": "application/json"}
            )
            with connection.getresponse() as reply:
                yield reply

    def pending_request(self) -> dict[str, Any]:
        """Return the permission request that waits for a person, once there is one."""
        found: list[dict[str, Any]] = []

        def look() -> bool:
            found[:] = self.get("/permissions").get("pending", [])
            return bool(found)

        wait_until(look, "a permission request")
        return found[0]

    def record_count(self, path: str) -> int:
        """Return how many access records there are of requests to `path`, once
        analytics answers.
        """
        answer: dict[str, Any] = {}

        def is_answered() -> bool:
            answer.update(self.get("/logs/query?limit=500"))
            return "results" in answer

        wait_until(is_answered, "an answer of /logs/query")
        return sum(row["path"] == path for row in answer["results"])

    def end(self) -> None:
        """Remove the containers and the volumes."""
        self.compose(
            "--profile",
            "*",
            "down",
            "--volumes",
            "--remove-orphans",
            "--timeout",
            "10",
            check=False,
        )
