"""Measure the first word of `/sdk`: `make bench BENCH_ARGS="--only sdk"`.

Side by side in every round, against the simulator, until the first text delta: a warm `/sdk`
through gateway, Redis and worker; a `claude` that the SDK's own client has connected beforehand;
and a cold one, as the SDK's one-shot query starts it. The least is the work itself; the median has
whatever else the machine did in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import claude_agent_sdk
import httpx
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, StreamEvent

from benchmarks.charts import bar_chart
from benchmarks.report import Section, Table

BIN = Path(sys.executable).parent
MODEL, PROMPT, KEY = "claude-sonnet-5-5", "[[say:first word and more]]", "sk-ant-bench"
READY_SECONDS = 60
LULL_SECONDS = 1.0  # after a start, until the program has done what it puts off


@contextlib.contextmanager
def ended(process: subprocess.Popen[Any]) -> Iterator[subprocess.Popen[Any]]:
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def stack(home: Path) -> Iterator[tuple[str, str]]:
    """The addresses of a running stack and of the simulator behind it."""
    command = [str(BIN / "ccproxy-simulator"), "--port", "0"]
    with ended(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) as simulator:
        assert simulator.stdout is not None
        upstream: str = json.loads(simulator.stdout.readline())["url"]
        environment = os.environ | {
            "HOME": str(home),
            "SERVER__RUN_DIR": str(home / "run"),
            "SERVER__PORT": "0",
            "CLAUDE__BASE_URL": upstream,
            "CLAUDE__API_KEY": KEY,
            "SDK__WARM": "start",
        }
        log = (home / "log").open("w")
        with (
            log,
            ended(
                subprocess.Popen(
                    [BIN / "ccproxy", "serve"], cwd=home, env=environment, stdout=log, stderr=log
                )
            ),
        ):
            yield wait_for_address(home / "run/lock"), upstream


def wait_for_address(lock: Path) -> str:
    late = time.monotonic() + READY_SECONDS
    while time.monotonic() < late:
        with contextlib.suppress(OSError, ValueError):
            if url := json.loads(lock.read_text()).get("url"):
                return str(url)
        time.sleep(0.05)
    raise SystemExit("The stack did not start.")


async def wait_for_spares(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            with contextlib.suppress(httpx.HTTPError):
                workers = (await http.get("/sdk/status")).json()["workers"]
                if workers and all(
                    each.get("idle", -1) == each.get("size") and not each["busy"]
                    for each in workers
                ):
                    return
            await asyncio.sleep(0.1)


async def through_sdk(http: httpx.AsyncClient) -> float:
    await wait_for_spares(http)
    await asyncio.sleep(LULL_SECONDS)
    messages = [{"role": "user", "content": PROMPT}]
    body = {"model": MODEL, "max_tokens": 1024, "stream": True, "messages": messages}
    began, first = time.perf_counter(), 0.0
    async with http.stream("POST", "/sdk/v1/messages", json=body) as reply:
        async for chunk in reply.aiter_raw():
            if not first and b"text_delta" in chunk:
                first = time.perf_counter() - began
    return first


def options(upstream: str, home: Path) -> ClaudeAgentOptions:
    quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_TELEMETRY": "1"}
    env = {"ANTHROPIC_BASE_URL": upstream, "ANTHROPIC_API_KEY": KEY, "HOME": str(home)} | quiet
    return ClaudeAgentOptions(
        model=MODEL, env=env, cwd=home, setting_sources=[], include_partial_messages=True
    )


async def first_word(began: float, messages: AsyncIterator[Any]) -> float:
    first = 0.0
    async for message in messages:
        if not first and isinstance(message, StreamEvent) and "text_delta" in str(message.event):
            first = time.perf_counter() - began
    return first


async def connected(settings: ClaudeAgentOptions) -> float:
    client = ClaudeSDKClient(settings)
    await client.connect()
    try:
        await asyncio.sleep(LULL_SECONDS)
        began = time.perf_counter()
        await client.query(PROMPT)
        return await first_word(began, client.receive_response())
    finally:
        await client.disconnect()


async def cold(settings: ClaudeAgentOptions) -> float:
    began = time.perf_counter()
    return await first_word(began, claude_agent_sdk.query(prompt=PROMPT, options=settings))


async def measure(url: str, settings: ClaudeAgentOptions, rounds: int) -> dict[str, list[float]]:
    seen: dict[str, list[float]] = {"/sdk, warm": [], "claude, connected": [], "claude, cold": []}
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
        for number in range(rounds + 2):
            found = (await through_sdk(http), await connected(settings), await cold(settings))
            if number >= 2:  # from the third on a pool knows what it is asked for
                for name, value in zip(seen, found, strict=True):
                    seen[name].append(value)
    return seen


def run(rounds: int) -> Section:
    """Return the times until the first word."""
    with (
        tempfile.TemporaryDirectory(prefix="ccbench") as folder,
        stack(Path(folder)) as (url, upstream),
    ):
        seen = asyncio.run(measure(url, options(upstream, Path(folder)), rounds))
    medians = {name: 1000 * statistics.median(values) for name, values in seen.items()}
    rows = [
        [name, f"{1000 * min(values):.0f}", f"{medians[name]:.0f}", str(len(values))]
        for name, values in seen.items()
    ]
    return Section(
        "sdk",
        "The first word of `/sdk`",
        'make bench BENCH_ARGS="--only sdk"',
        TEXT,
        [("", Table(["first word, ms", "least", "median", "rounds"], rows))],
        [
            (
                "Milliseconds until the first word",
                bar_chart("Until the first word", "ms, median", medians),
            )
        ],
        {"claude-agent-sdk": importlib.metadata.version("claude-agent-sdk")},
    )


TEXT = """From the request to the first piece of text, in turn in each round, against the
simulator: a warm `/sdk` through gateway, Redis and worker; a `claude` that the SDK's client has
connected beforehand; and a cold one, as the SDK's one-shot query starts it. The least is the work
itself; the median has whatever else the machine did in it."""
