"""`ccproxy demo`: the whole stack against the simulator, from nothing, leaving nothing.

One request through each route, then what each left behind: a row in DuckDB and a line in
the metrics. With `--once` the exit code is the verdict. Nothing of the owner is read or written:
home, configuration, data and run directory are made for the occasion, and every setting of the
environment is put aside. One file is the owner's: the entry in the registry of running stacks, by
which commands find the demo while it runs.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import os
import shlex
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.markup import escape

from ccproxy.cli.output import plain
from ccproxy.launcher.launch import Listing, start_stack
from ccproxy.launcher.programs import find_script, own_command
from ccproxy.launcher.stacks import registry_dir
from shared.accounts.codex import AUTH_CLAIM
from shared.formats.sse import events_in
from shared.settings.tree import Settings

PORT = 8000
MODEL = "claude-sonnet-5-5"
CODEX_MODEL = "gpt-5.5"
MADE_UP_KEY = "sk-ant-demo-made-up-by-ccproxy"  # the simulator admits any key of this shape
FOLLOW_UP_SECONDS = (
    20.0  # rows and metrics follow their request within a second; a busy machine may take longer
)
REQUEST_SECONDS = 120.0
PROGRAM = {"user-agent": "ccproxy-demo"}
SHOWN_LABELS = ("endpoint=", "status=")
# Where the owner's own files are found without a setting's help.
OWNERS_PLACES = (
    "CLAUDE_CONFIG_DIR",
    "CODEX_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "CONFIG_FILE",
)
OWNERS_KEYS = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A route of the demo: a request, and the words expected in the reply."""

    name: str
    path: str
    stream: bool
    words: str
    model: str = MODEL

    @property
    def request_id(self) -> str:
        return "demo-" + self.name.replace(" ", "-").replace("/", "")

    def body(self) -> dict[str, Any]:
        said = {"role": "user", "content": f"[[say:{self.words}]]"}
        return {"model": self.model, "max_tokens": 200, "stream": self.stream, "messages": [said]}


SAMPLES = (
    Sample("/api", "/api/v1/messages", stream=False, words="Hello, straight through."),
    Sample(
        "/api streamed", "/api/v1/messages", stream=True, words="Hello again, one piece at a time."
    ),
    Sample("/sdk", "/sdk/v1/messages", stream=False, words="Hello from a real claude process."),
    Sample(
        "/codex",
        "/codex/v1/messages",
        stream=True,
        words="Hello from a ChatGPT model.",
        model=CODEX_MODEL,
    ),
)


def run_demo(*, once: bool, port: int | None) -> int:
    """Start, show, and stay until Ctrl-C; with `once` end with 0 if everything arrived, else 1."""
    with tempfile.TemporaryDirectory(prefix="ccproxy-demo-") as made:
        home = Path(made)
        simulator_port = free_port()
        # Before the owner's places are put aside: commands look for the demo in the owner's own
        # registry.
        listing = Listing("demo", registry_dir().absolute())
        isolate(home, f"http://127.0.0.1:{simulator_port}", choose_port(port))
        if once:
            # What is shown at the end has every request already.
            os.environ["SERVER__LOG_LEVEL"] = "WARNING"
        simulator = [*find_script("ccproxy-simulator"), "--quiet", "--port", str(simulator_port)]
        return start_stack(
            extra={"simulator": simulator},
            when_ready=partial(show_demo, once=once),
            listing=listing,
        )


def isolate(home: Path, simulator: str, port: int) -> None:
    """Remove the owner's settings from this process. The stack inherits the environment of this
    process.
    """
    for name in list(os.environ):
        section = name.upper().partition("__")[0].lower()
        if name in OWNERS_PLACES + OWNERS_KEYS or (
            "__" in name and section in Settings.model_fields
        ):
            del os.environ[name]
    os.environ |= {
        "HOME": str(home),
        "SERVER__PORT": str(port),
        "SERVER__RUN_DIR": str(home / "run"),
        "SECURITY__TOKENS_FILE": str(home / "tokens.json"),
        "SECURITY__PERMISSION_RULES_FILE": str(home / "permissions.toml"),
        "OBSERVABILITY__DUCKDB_PATH": str(home / "demo.duckdb"),
        "CLAUDE__BASE_URL": simulator,
        "CLAUDE__API_KEY": MADE_UP_KEY,
        "CODEX__BASE_URL": f"{simulator}/backend-api/codex",
        "CODEX__OAUTH__BASE_URL": simulator,
        "CODEX__AUTH_FILE": str(make_up_login(home / "auth.json")),
        "SDK__POOL_SIZE": "1",
    }
    os.chdir(home)


def make_up_login(path: Path) -> Path:
    """A ChatGPT login like the Codex program's own; the simulator admits any account."""
    claims = {"exp": 2**33, AUTH_CLAIM: {"chatgpt_account_id": "demo", "chatgpt_plan_type": "plus"}}
    token = f"made.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()}.up"
    path.write_text(
        json.dumps(
            {"auth_mode": "chatgpt", "tokens": {"access_token": token, "account_id": "demo"}}
        )
    )
    return path


def choose_port(wanted: int | None) -> int:
    """Return the wanted port; without a wish the usual port, or any free port if the usual port is
    taken.
    """
    if wanted is not None:
        return wanted
    return PORT if can_listen(PORT) else 0


def can_listen(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
            tried.listen()
        except OSError:
            return False
        return True


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def show_demo(
    url: str, settings: Settings, *, once: bool, timeout: float = FOLLOW_UP_SECONDS
) -> int | None:
    """Send a request to every route, and show the replies and the records. With `once`: return the
    exit code.
    """
    del settings
    console = Console(highlight=False, soft_wrap=True)
    missing = []
    async with httpx.AsyncClient(
        base_url=url, timeout=REQUEST_SECONDS, trust_env=False, headers=PROGRAM
    ) as client:
        console.print("\n[bold]One request through each route[/bold]")
        for sample in SAMPLES:
            answer = await send_sample(client, sample)
            right = answer == sample.words
            console.print(
                f"  {'[green]ok[/green]  ' if right else '[red]FAIL[/red]'} {sample.name:<14} "
                f"{plain(answer)}"
            )
            if not right:
                missing.append(f"the answer of {sample.name}")
        missing += await show_rows(client, console, timeout)
        missing += await show_metrics(client, console, timeout)
    for what in missing:
        console.print(f"[red]FAIL[/red] {what} did not arrive")
    if once:
        console.print(
            "[red]Not everything arrived.[/red]"
            if missing
            else "[green]Everything arrived.[/green]"
        )
        return 1 if missing else 0
    console.print(invitation(url))
    return None


async def send_sample(client: httpx.AsyncClient, sample: Sample) -> str:
    """Return the text of the reply, or the failure in words."""
    try:
        reply = await client.post(
            sample.path, json=sample.body(), headers={"x-request-id": sample.request_id}
        )
        if reply.status_code != 200:
            return f"{reply.status_code}: {reply.text[:300]}"
        return streamed_text(reply.text) if sample.stream else whole_text(reply.json())
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        return f"{type(error).__name__}: {error}"


def whole_text(message: dict[str, Any]) -> str:
    return "".join(block["text"] for block in message["content"] if block["type"] == "text")


def streamed_text(body: str) -> str:
    """Return the text deltas of a complete Messages stream. Raises ValueError for an early end."""
    events = [json.loads(event.data) for event in events_in(body.encode())]
    if not events or events[-1]["type"] != "message_stop":
        raise ValueError("the stream ended before its message_stop")
    return "".join(
        event["delta"].get("text", "") for event in events if event["type"] == "content_block_delta"
    )


async def show_rows(client: httpx.AsyncClient, console: Console, timeout: float) -> list[str]:
    """Show the access records of our requests, out of DuckDB; return the missing records."""
    console.print("\n[bold]What they left in DuckDB[/bold]  (GET /logs/query)")
    rows: dict[str, dict[str, Any]] = {}
    async for answer in asked_until_late(client, "/logs/query?limit=100", timeout):
        rows = {row["client_request_id"]: row for row in json.loads(answer).get("results", [])}
        if all(sample.request_id in rows for sample in SAMPLES):
            break
    for sample in SAMPLES:
        if row := rows.get(sample.request_id):
            prompt = row["tokens_input"] + row["cache_read_tokens"] + row["cache_write_tokens"]
            facts = f"{row['status_code']}  {row['model']}  {prompt} in, {row['tokens_output']} out"
            console.print(f"  {sample.name:<14} {plain(facts)}  {row['duration_ms']:.0f} ms")
    return [f"the log row of {sample.name}" for sample in SAMPLES if sample.request_id not in rows]


async def show_metrics(client: httpx.AsyncClient, console: Console, timeout: float) -> list[str]:
    """Show the lines of /metrics for our requests. Return the missing lines."""
    console.print("\n[bold]What they left in the metrics[/bold]  (GET /metrics; some labels)")
    found: list[str] = []
    async for answer in asked_until_late(client, "/metrics", timeout):
        found = list(counting_lines(answer))
        if all(any(sample.path in line for line in found) for sample in SAMPLES):
            break
    for line in found:
        console.print(f"  {plain(with_few_labels(line))}")
    paths = dict.fromkeys(sample.path for sample in SAMPLES)
    return [
        f"the metrics line of {path}" for path in paths if not any(path in line for line in found)
    ]


def counting_lines(metrics: str) -> Iterator[str]:
    for line in metrics.splitlines():
        if line.startswith("ccproxy_requests_total") and any(
            sample.path in line for sample in SAMPLES
        ):
            yield line


def with_few_labels(line: str) -> str:
    """Return a line of the metrics with only the labels that tell our requests apart."""
    name, _, rest = line.partition("{")
    labels, _, value = rest.rpartition("}")
    few = [label for label in labels.split(",") if label.startswith(SHOWN_LABELS)]
    return f"{name}{{{','.join(few)}}}{value}"


async def asked_until_late(
    client: httpx.AsyncClient, path: str, timeout: float
) -> AsyncIterator[str]:
    """Ask again and again and yield each good answer, until the caller has seen enough or
    `timeout` is over.
    """
    loop = asyncio.get_running_loop()
    late = loop.time() + timeout
    while loop.time() < late:
        reply = await client.get(path)
        if reply.status_code == 200:
            yield reply.text
        await asyncio.sleep(0.1)


def invitation(url: str) -> str:
    command = own_command()
    program = ""
    if importlib.util.find_spec("anthropic") is not None:
        program = f"""
  {shlex.quote(sys.executable)} -c "import anthropic
  client = anthropic.Anthropic(
    base_url='{url}/api', api_key='any')
  print(client.messages.create(model='{MODEL}', max_tokens=100,
    messages=[{{'role': 'user', 'content': 'Hello!'}}]).content[0].text)"
"""
    return escape(f"""
Try it, while it runs, in another terminal:

  curl {url}/api/v1/messages \\
    -H 'content-type: application/json' \\
    -d '{{"model": "{MODEL}", "max_tokens": 100,
         "messages": [{{"role": "user", "content": "Hello!"}}]}}'
{program}
  {command} run -- claude -p 'Hello!'

  {command} usage

The dashboard is at {url}/dashboard.
Ctrl-C ends the demo and leaves nothing behind.""")
