"""Measure the gateway beside its references, in one run: `make bench` (BENCH_ARGS="--quick",
"--only whole").

Upstream and load share one core, whatever is measured has the other to itself. The figure that
counts is work done per CPU-second of the program measured (user + system, from /proc), which moves
far less than a clock on a busy machine.
"""

from __future__ import annotations

import argparse
import contextlib
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import analytics, memory, scale, sdk
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
    Load("whole, 1 connection", "bench-whole", 1, 2, "latency", stream=False),
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
        "SECURITY__AUTH_TOKEN": "bench-token",
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
daemon off; worker_processes 1; pid {dir}/nginx.pid; error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
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
        "headers": {"x-api-key": "bench-token", "anthropic-version": "2023-06-01"},
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


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--quick", action="store_true", help="a quarter of the time a row")
    options.add_argument(
        "--only",
        default="",
        help="rows whose name contains this, `sdk`, `analytics`, `memory` or `scale`",
    )
    options.add_argument(
        "--rounds", type=int, default=1, help="measure all in turn so often; the medians are shown"
    )
    chosen = options.parse_args()
    if chosen.only not in {"sdk", "analytics", "memory", "scale"}:
        compare_gateways(chosen.only, 0.25 if chosen.quick else 1, chosen.rounds)
    if chosen.only in {"", "sdk"}:
        sdk.run(rounds=3 if chosen.quick else 10)
    if chosen.only in {"", "analytics"}:
        analytics.run(quick=chosen.quick)
    if chosen.only in {"", "memory"}:
        memory.run()
    if chosen.only in {"", "scale"}:
        scale.run()


def compare_gateways(only: str, scale: float, rounds: int) -> None:
    with contextlib.ExitStack() as stack:
        run_dir = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ccbench")))
        upstream = free_port()
        stack.enter_context(
            running([sys.executable, str(HERE / "upstream.py"), str(upstream)], upstream, OTHERS)
        )
        programs = [Program("direct", upstream, [])]
        unwatched = gateway(
            upstream, run_dir, "ccproxy without records", OBSERVABILITY__ENABLED="false"
        )
        programs += [
            stack.enter_context(each)
            for each in (gateway(upstream, run_dir), unwatched, bare(upstream))
        ]
        if shutil.which("nginx"):
            programs.append(stack.enter_context(nginx(upstream, run_dir)))
        print(f"| load | program | answers | errors | {' | '.join(SHOWN)} |")
        print("|---" * (len(SHOWN) + 4) + "|")
        for load in LOADS:
            if only in load.name:
                concerned = [
                    program for program in programs if program.prefix or not load.translated
                ]
                found = [
                    [measure(program, load, scale) for program in concerned] for _ in range(rounds)
                ]
                for program, results in zip(concerned, zip(*found, strict=True), strict=True):
                    cells = [median(results, name) for name in ("done", "errors", *SHOWN)]
                    print(f"| {load.name} | {program.name} | {' | '.join(cells)} |", flush=True)


def median(results: Sequence[Result], name: str) -> str:
    values = [value for result in results if (value := result.get(name)) is not None]
    return f"{statistics.median(values):g}" if values else ""


if __name__ == "__main__":
    main()
