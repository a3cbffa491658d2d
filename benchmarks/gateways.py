"""Measure the gateway beside its references, in one run: `make bench BENCH_ARGS="--only gateways"`
(and `--load whole` for the rows whose name contains that).

Upstream and load share one core, whatever is measured has the other to itself. The figure that
counts is work done per CPU-second of the program measured (user + system, from /proc), which moves
far less than a clock on a busy machine.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.charts import bar_chart
from benchmarks.report import Section, Table
from ccproxy.launcher.redis_server import find_server, render_config
from shared.settings.servers import RedisSettings

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
TICKS = os.sysconf("SC_CLK_TCK")
CPUS = sorted(os.sched_getaffinity(0))
MEASURED, OTHERS = {CPUS[0]}, {CPUS[-1]}
QUIET: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

Result = dict[str, float | None]

PROMPT = "Say something about the sea. " * 50
TOKEN = "bench-token"


@dataclass(frozen=True)
class Load:
    """One row's worth of work: `figure` says which of the results counts."""

    name: str
    model: str
    connections: int
    seconds: float
    figure: str
    path: str = "/v1/messages"
    stream: bool = True
    translated: bool = False  # only the product can

    def body(self) -> str:
        messages = [{"role": "user", "content": PROMPT}]
        return json.dumps(
            {"model": self.model, "max_tokens": 1024, "stream": self.stream, "messages": messages}
        )


LOADS = [
    Load("whole", "bench-whole", 64, 4, "requests/cpu-s", stream=False),
    Load("whole, 1 connection", "bench-whole", 1, 2, "latency_p50", stream=False),
    Load("burst", "bench-burst", 16, 4, "cpu-ms/stream"),
    Load(
        "chat, whole",
        "bench-whole",
        16,
        4,
        "requests/cpu-s",
        "/v1/chat/completions",
        stream=False,
        translated=True,
    ),
    Load(
        "chat, burst",
        "bench-burst",
        16,
        4,
        "cpu-ms/stream",
        "/v1/chat/completions",
        translated=True,
    ),
    Load("paced 64", "bench-paced", 64, 5, "cpu-us/token"),
    Load("paced 256", "bench-paced", 256, 5, "cpu-us/token"),
    Load("paced 800", "bench-paced", 800, 5, "cpu-us/token"),
]


@dataclass
class Program:
    """Something that stands between the load and the upstream; `prefix` is put before the path."""

    name: str
    port: int
    pids: list[int]
    prefix: str = ""


def among_others() -> None:
    os.sched_setaffinity(0, OTHERS)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running(
    command: list[str], port: int, cpus: set[int], **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A program pinned to `cpus`, once its port answers."""
    process = subprocess.Popen(
        command,
        env=os.environ | {"PYTHONSAFEPATH": "1"} | environment,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),  # noqa: PLW1509 - no threads are running here
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for(port, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)
    raise SystemExit(f"{process.args!r} did not start listening")


def cpu_seconds(pids: list[int]) -> float:
    """User and system time of the processes named."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


@contextlib.contextmanager
def gateway(
    upstream: int, run_dir: Path, name: str = "ccproxy", **settings: str
) -> Iterator[Program]:
    """The product's gateway with metering, logging and the guard on, and Redis and analytics for
    its records.
    """
    run_dir = run_dir / name.replace(" ", "-")
    run_dir.mkdir()
    config, redis_socket = render_config(run_dir, run_dir / "redis")
    (run_dir / "redis.conf").write_text(config)
    beside = [
        subprocess.Popen([str(find_server(RedisSettings())), str(run_dir / "redis.conf")], **QUIET)
    ]
    port = free_port()
    environment = {
        "SERVER__PORT": str(port),
        "CLAUDE__BASE_URL": f"http://127.0.0.1:{upstream}",
        "CLAUDE__API_KEY": "bench",
        "SECURITY__AUTH_TOKEN": TOKEN,
        "REDIS__URL": f"unix://{redis_socket}",
        "SERVER__LOG_LEVEL": "WARNING",
        "OBSERVABILITY__DUCKDB_PATH": str(run_dir / "metrics.duckdb"),
        **settings,
    }
    try:
        storing = [str(BIN / "ccproxy-analytics")]
        environ = os.environ | environment
        beside.append(subprocess.Popen(storing, env=environ, preexec_fn=among_others, **QUIET))  # noqa: PLW1509
        with running([str(BIN / "ccproxy-gateway")], port, MEASURED, **environment) as process:
            yield Program(name, port, [process.pid], "/api")
    finally:
        for each in reversed(beside):
            each.terminate()
            each.wait(10)


@contextlib.contextmanager
def bare(upstream: int) -> Iterator[Program]:
    port = free_port()
    command = [sys.executable, str(HERE / "reference.py"), str(port)]
    with running(command, port, MEASURED, BENCH_UPSTREAM=f"http://127.0.0.1:{upstream}") as process:
        yield Program("bare ASGI + aiohttp", port, [process.pid])


NGINX = """
user root; daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 0; proxy_request_buffering off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 10000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
    proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";
    keepalive_requests 10000000; proxy_buffering off; }} }}
}}
"""


@contextlib.contextmanager
def nginx(upstream: int, run_dir: Path) -> Iterator[Program]:
    port = free_port()
    config = run_dir / "nginx.conf"
    config.write_text(NGINX.format(dir=run_dir, upstream=upstream, port=port))
    with running([shutil.which("nginx") or "nginx", "-c", str(config)], port, MEASURED) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield Program("nginx", port, [process.pid, *map(int, children)])


def measure(program: Program, load: Load, scale: float) -> Result:
    """One load on one program: the generator's own figures, and the CPU the program spent on it."""
    plan = {
        "port": program.port,
        "path": program.prefix + load.path,
        "body": load.body(),
        "headers": {"x-api-key": TOKEN, "anthropic-version": "2023-06-01"},
        "connections": load.connections,
        "seconds": load.seconds * scale,
    }
    before = cpu_seconds(program.pids)
    output = subprocess.run(
        [sys.executable, str(HERE / "load.py"), json.dumps(plan)],
        capture_output=True,
        check=True,
        preexec_fn=among_others,
    ).stdout
    spent = cpu_seconds(program.pids) - before
    result: Result = json.loads(output)
    done, tokens = result["done"] or 1, result["tokens"] or 1
    if program.pids:
        result["requests/cpu-s"] = round(done / max(spent, 1 / TICKS))
        result["cpu-ms/stream"] = round(spent / done * 1000, 3) if load.stream else None
        result["cpu-us/token"] = round(spent / tokens * 1e6, 1) if result["tokens"] else None
    return result


SHOWN = (
    "requests/cpu-s",
    "cpu-ms/stream",
    "cpu-us/token",
    "latency_p50",
    "latency_p99",
    "first_token_p50",
    "delay_p99",
)


def compare_gateways(only: str, scale: float, rounds: int) -> Section:
    """Return what was measured with the loads whose name contains `only`."""
    tables: list[tuple[str, Table]] = []
    charts: list[tuple[str, str]] = []
    with contextlib.ExitStack() as stack:
        programs = start_programs(stack)
        for load in LOADS:
            if only not in load.name:
                continue
            concerned = [program for program in programs if program.prefix or not load.translated]
            found = [
                [measure(program, load, scale) for program in concerned] for _ in range(rounds)
            ]
            results = dict(
                zip((program.name for program in concerned), zip(*found, strict=True), strict=True)
            )
            tables.append((f"**{load.name}**: {load.figure} counts.", table_of(results)))
            charts.append(chart_of(load, results))
    return Section(
        "gateways",
        "The gateway beside its references",
        'make bench BENCH_ARGS="--only gateways"',
        TEXT,
        tables,
        charts,
        versions(),
    )


TEXT = """A provider of our own answers at once; it and the load share one core, and each program
has the other core to itself. Work done per second of a program's CPU is what counts: a clock
shows above all what else the machine does. `direct` is the load on the provider without a program
between them."""


def start_programs(stack: contextlib.ExitStack) -> list[Program]:
    """Start the provider and all programs to compare; `stack` ends them."""
    run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ccbench")))
    upstream = free_port()
    stack.enter_context(
        running([sys.executable, str(HERE / "upstream.py"), str(upstream)], upstream, OTHERS)
    )
    unwatched = gateway(
        upstream, run_dir, "ccproxy without records", OBSERVABILITY__ENABLED="false"
    )
    programs = [Program("direct", upstream, [])]
    programs += [
        stack.enter_context(each)
        for each in (gateway(upstream, run_dir), unwatched, bare(upstream))
    ]
    if shutil.which("nginx"):
        programs.append(stack.enter_context(nginx(upstream, run_dir)))
    return programs


def table_of(results: Mapping[str, Sequence[Result]]) -> Table:
    """Return a row for each program."""
    rows = [
        [name, *(median_text(rounds, figure) for figure in ("done", "errors", *SHOWN))]
        for name, rounds in results.items()
    ]
    return Table(["program", "answers", "errors", *SHOWN], rows)


def chart_of(load: Load, results: Mapping[str, Sequence[Result]]) -> tuple[str, str]:
    """Return the chart of the figure that counts with `load`."""
    found = {name: median(rounds, load.figure) for name, rounds in results.items()}
    values = {name: value for name, value in found.items() if value is not None}
    return f"{load.figure} with the load {load.name}", bar_chart(load.name, load.figure, values)


def median(results: Sequence[Result], name: str) -> float | None:
    values = [value for result in results if (value := result.get(name)) is not None]
    return statistics.median(values) if values else None


def median_text(results: Sequence[Result], name: str) -> str:
    value = median(results, name)
    return "" if value is None else f"{value:g}"


def versions() -> dict[str, str]:
    """Return the versions of the libraries and programs compared with."""
    found = {name: importlib.metadata.version(name) for name in ("aiohttp", "uvicorn")}
    if program := shutil.which("nginx"):
        told = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
        found["nginx"] = told.strip().rpartition("/")[2]
    return found
