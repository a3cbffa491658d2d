"""The first word of an agent: `/sdk`, warm and after a change of the system prompt, beside other
programs which put the `claude` command behind an HTTP address.

All of them run the same `claude` against the same simulator with a made-up key; none needs a login
for it. Each round asks each once, and waits until what the question started has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import claude_agent_sdk
import httpx

from benchmarks import sdk
from benchmarks.gateways import Program, free_port
from benchmarks.peers_packages import CCPROXY_API, MAX_API
from benchmarks.peers_programs import Site, Words, environment, launched, node

BUNDLED = Path(claude_agent_sdk.__file__).parent / "_bundled"
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
}
WARM, CHANGED = "CCProxy `/sdk`, warm", "CCProxy `/sdk`, a system prompt it has not seen"
COLD = "`claude` itself, started by the Agent SDK"
TAKEN_ON = 2  # rounds before the first that counts


def start_max_api(site: Site, upstream: str) -> contextlib.AbstractContextManager[Program]:
    port = free_port()
    server = site.installed / "node_modules/claude-max-api-proxy/dist/server/standalone.js"
    command: Words = [node(), server, str(port)]
    return launched("claude-max-api-proxy", command, site, port, behind(site, upstream))


def start_predecessor(site: Site, upstream: str) -> contextlib.AbstractContextManager[Program]:
    port = free_port()
    given = behind(site, upstream) | {
        # its other plugins would run `claude` to copy the headers of its requests
        "ENABLED_PLUGINS": '["claude_sdk"]',
        "BINARY__PACKAGE_MANAGER_ONLY": "false",
        "PLUGINS__CLAUDE_SDK__CLI_PATH": str(BUNDLED / "claude"),
        "SERVER__PORT": str(port),
        "PATH": os.pathsep.join([str(site.installed / "bin"), str(BUNDLED)]),
    }
    command: Words = [site.installed / "bin/ccproxy", "serve", "--port", str(port)]
    return launched("ccproxy-api", [*command, "--log-level", "ERROR"], site, port, given)


def behind(site: Site, upstream: str) -> dict[str, str]:
    key = {"ANTHROPIC_BASE_URL": upstream, "ANTHROPIC_API_KEY": sdk.KEY}
    return environment(site, BUNDLED, "/usr/bin", "/bin", **key, **QUIET)


async def first_word_of(http: httpx.AsyncClient, path: str, body: Mapping[str, Any]) -> float:
    """Return the seconds to the first text of a streamed reply."""
    began, first = time.perf_counter(), 0.0
    async with http.stream("POST", path, json={**body, "stream": True}) as reply:
        if reply.status_code != httpx.codes.OK:
            await reply.aread()
            raise OSError(f"{reply.status_code}: {reply.text[:200]}")
        async for chunk in reply.aiter_raw():
            if not first and (b"text_delta" in chunk or b'"content":"' in chunk):
                first = time.perf_counter() - began
    if not first:
        raise OSError("The stream had no text.")
    return first


def question(**more: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": sdk.PROMPT}]
    return {"model": sdk.MODEL, "max_tokens": 1024, "messages": messages, **more}


async def measure(
    url: str, upstream: str, home: Path, others: Mapping[str, tuple[Program, str]], rounds: int
) -> dict[str, Any]:
    """Return the seconds of each round by what was asked, and the first error of what failed."""
    seen: dict[str, list[float]] = {}
    failed: dict[str, str] = {}

    def note(name: str, number: int, seconds: float) -> None:
        if number >= TAKEN_ON:
            seen.setdefault(name, []).append(seconds)

    async with contextlib.AsyncExitStack() as stack:
        client = httpx.AsyncClient(timeout=60, trust_env=False, base_url=url)
        http = await stack.enter_async_context(client)
        for number in range(rounds + TAKEN_ON):
            note(WARM, number, await sdk.through_sdk(http))
            await sdk.wait_for_spares(http)
            changed = question(system=f"You are number {number}.")
            note(CHANGED, number, await first_word_of(http, "/sdk/v1/messages", changed))
            note(COLD, number, await sdk.cold(sdk.options(upstream, home)))
            for name, (program, path) in others.items():
                address = f"http://127.0.0.1:{program.port}{path}"
                try:
                    note(name, number, await first_word_of(http, address, question()))
                except (OSError, httpx.HTTPError) as error:
                    failed.setdefault(name, str(error) or repr(error))
    return {"seconds": seen, "failed": failed}


@contextlib.contextmanager
def started(
    folder: Path, upstream: str, installed: Mapping[str, str]
) -> Iterator[dict[str, tuple[Program, str]]]:
    """Start the other programs which are installed, and wait until they take connections."""
    ways = {
        MAX_API.program: (start_max_api, "claude-max-api-proxy", "/v1/chat/completions"),
        CCPROXY_API.program: (
            start_predecessor,
            "ccproxy-api `/claude/sdk`",
            "/claude/sdk/v1/messages",
        ),
    }
    with contextlib.ExitStack() as stack:
        running: dict[str, tuple[Program, str]] = {}
        for name, (start, shown, path) in ways.items():
            if name in installed:
                home = folder / name
                home.mkdir()
                site = Site(home, 0, Path(installed[name]))
                program = stack.enter_context(start(site, upstream))
                wait_for_port(program.port)
                running[shown] = (program, path)
        yield running


def wait_for_port(port: int) -> None:
    late = time.monotonic() + sdk.READY_SECONDS
    while time.monotonic() < late:
        with contextlib.suppress(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False)
            return
        time.sleep(0.05)


def measure_first_words(installed: Mapping[str, str], rounds: int) -> dict[str, Any]:
    """Return the seconds to the first word of each program."""
    with tempfile.TemporaryDirectory(prefix="ccbench") as name:
        folder = Path(name)
        with (
            sdk.stack(folder) as (url, upstream),
            started(folder, upstream, installed) as others,
        ):
            return asyncio.run(measure(url, upstream, folder, others, rounds))


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps(measure_first_words(**plan)))
