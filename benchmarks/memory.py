"""Measure the memory of the whole demo stack: PSS of each process, before and after requests,
without `claude`.

PSS counts a page that several processes share in equal parts, so that the sum is the memory the
stack really takes.
"""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from benchmarks.charts import bar_chart
from benchmarks.report import Section, Table

REQUESTS = 1_000
BUDGET = 260  # MB, launcher included
MEBIBYTE = 1024
MODELS = {"/api": "claude-sonnet-5-5", "/codex": "gpt-5.5"}
# Programs that are no part of an owner's stack at rest.
LEFT_OUT = ("ccproxy-simulator", "--output-format")


def run(requests: int = REQUESTS) -> Section:
    """Return PSS in MB, before and after `requests`, and the ratio of the sum to the budget."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).parent / "ccproxy"), "demo", "--port", str(port)]
    demo = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Ctrl-C ends" in line:
                break
        before = memory_of(demo.pid)
        for number in range(requests):
            send(port, "/api" if number % 2 else "/codex")
        after = memory_of(demo.pid)
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)
    rows = [[name, f"{before.get(name, 0):.1f}", f"{size:.1f}"] for name, size in after.items()]
    total = sum(after.values())
    rows.append(["all", f"{sum(before.values()):.1f}", f"{total:.1f}"])
    rows.append(["of the budget", "", f"{total / BUDGET:.2f}"])
    title = f"Memory after {requests:,} requests"
    return Section(
        "memory",
        "Memory of the whole stack",
        'make bench BENCH_ARGS="--only memory"',
        f"{TEXT} The budget is {BUDGET} MB.",
        [("", Table(["process", "PSS at rest, MB", f"after {requests:,} requests"], rows))],
        [(f"{title}, by process", bar_chart(title, "MB (PSS)", after))],
        {},
    )


TEXT = """The demo stack, launcher included, without `claude` and the simulator. PSS counts a page
that several processes share in equal parts, so that the sum is what the stack really takes."""


def send(port: int, route: str) -> None:
    body = {
        "model": MODELS[route],
        "max_tokens": 50,
        "messages": [{"role": "user", "content": "Hello"}],
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{route}/v1/messages",
        json.dumps(body).encode(),
        {"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        reply.read()


def memory_of(launcher: int) -> dict[str, float]:
    """Return the PSS in MB of each process of the stack, by its name."""
    found: dict[str, float] = {}
    for pid in descendants(launcher):
        words = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
        if not any(word in words for word in LEFT_OUT):
            # Several processes may have one name.
            found[name_of(words)] = found.get(name_of(words), 0.0) + pss_of(pid)
    return found


def pss_of(pid: int) -> float:
    """Return the PSS of one process in MB."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    match = re.search(r"(?m)^Pss:\s+(\d+) kB", rollup)
    return int(match[1]) / MEBIBYTE if match else 0.0


def name_of(words: str) -> str:
    """Return the short name of a process with the command line `words`."""
    service = re.search(
        r"ccproxy-[a-z-]+|ccproxy\.launcher\.supervision|valkey-server|redis-server|ccproxy", words
    )
    return service[0] if service else words[:40]


def descendants(pid: int) -> Iterator[int]:
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            yield from descendants(int(child))
