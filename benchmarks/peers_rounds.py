"""The rounds of the comparison with other programs: in each round every program is started, put
under every load that it takes, and ended, so that no two run at a time.

Run as a program with a plan and a file for what was found, in a network of its own where the
kernel makes one: none of the programs can then reach any host. A load that a program does not
finish is bounded, its errors are counted, and the loads above it are left out for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.gateways import (
    HERE,
    OTHERS,
    PROMPT,
    TICKS,
    Program,
    among_others,
    cpu_seconds,
    free_port,
    running,
)
from benchmarks.memory import descendants, pss_of
from benchmarks.peers_programs import BEARER, PEERS, READY_SECONDS, Peer, Site

SETTLE_SECONDS = 1.0
LONGEST_SETTLE_SECONDS = 8.0
RESTING = 0.1  # seconds of CPU a second
PATIENCE_SECONDS = 5.0
PACED_PATIENCE_SECONDS = 7.0
RAMP_SECONDS = 0.5
DIRECT = "direct"
NOT_RUN = "not run, it had failed with fewer"

Found = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """One load: a format, the kind of reply, and how many connections for how long."""

    name: str
    format: str
    kind: str
    connections: int
    seconds: float
    megabytes: float = 0

    def body(self, model: str) -> str:
        """Return the request's body for a program which calls the model `model`."""
        text = "FILLER" if self.megabytes else PROMPT
        common = {"model": model, "stream": self.kind != "whole"}
        if self.format == "responses":
            content = [{"type": "input_text", "text": text}]
            question = {"type": "message", "role": "user", "content": content}
            asked = {"instructions": "Answer.", "input": [question], "store": False}
            return json.dumps({**common, **asked})
        messages = [{"role": "user", "content": text}]
        return json.dumps({**common, "max_tokens": 1024, "messages": messages})


CELLS = (
    Cell("whole 1", "messages", "whole", 1, 1.5),
    Cell("whole 64", "messages", "whole", 64, 2),
    Cell("burst 16", "messages", "burst", 16, 1.5),
    Cell("chat whole 16", "chat", "whole", 16, 1.5),
    Cell("chat burst 16", "chat", "burst", 16, 1.5),
    Cell("responses burst 16", "responses", "burst", 16, 1.5),
    Cell("body 1 MB", "messages", "whole", 1, 1, megabytes=1),
    Cell("body 20 MB", "messages", "whole", 1, 1.5, megabytes=20),
    Cell("paced 1", "messages", "paced", 1, 1),
    Cell("paced 64", "messages", "paced", 64, 1),
    Cell("chat paced 64", "chat", "paced", 64, 1),
    Cell("paced 256", "messages", "paced", 256, 1),
    Cell("paced 1000", "messages", "paced", 1000, 1),
)


def measure_rounds(installed: Mapping[str, str], rounds: int, budget: float, scale: float) -> Found:
    """Return what was found with each program in up to `rounds` rounds: no round begins that would
    end after `budget` seconds. `installed` has the folders of programs from registries.
    """
    found: Found = {}
    began = time.monotonic()
    longest = 0.0
    with tempfile.TemporaryDirectory(prefix="ccbench") as folder:
        upstream = free_port()
        provider = [sys.executable, str(HERE / "upstream.py"), str(upstream)]
        with running(provider, upstream, OTHERS):
            for number in range(rounds):
                started = time.monotonic()
                if number and started + longest > began + budget:
                    break
                direct = Program(DIRECT, upstream, [])
                add(found, DIRECT, {"cells": measure_cells(direct, None, upstream, scale)})
                for peer in PEERS:
                    if peer.package is None or peer.package.program in installed:
                        home = Path(folder) / f"{number}-{PEERS.index(peer)}"
                        home.mkdir()
                        where = Path(installed.get(peer.name, ""))
                        add(
                            found, peer.name, measure_peer(peer, Site(home, upstream, where), scale)
                        )
                longest = max(longest, time.monotonic() - started)
    return found


def add(found: Found, name: str, one: Found) -> None:
    """Add what one round found with a program."""
    print(f"{name}: {json.dumps(one)}", file=sys.stderr, flush=True)
    found.setdefault(name, []).append(one)


def measure_peer(peer: Peer, site: Site, scale: float) -> Found:
    """Return the start of a program, its memory, and what each load found."""
    try:
        with contextlib.ExitStack() as stack:
            began = time.perf_counter()
            program = stack.enter_context(peer.start(site))
            wait_for_answer(peer, program, site.upstream)
            one: Found = {"start": time.perf_counter() - began, "start_cpu": tree_seconds(program)}
            time.sleep(SETTLE_SECONDS)
            one["idle"] = tree_memory(program)
            one["cells"] = measure_cells(program, peer, site.upstream, scale)
            one["after"] = tree_memory(program)
            return one
    except (OSError, SystemExit, ValueError, TimeoutError) as failed:
        return {"failed": f"{failed}", "log": last_words(site.home / "log")}


def last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-500:] if log.exists() else ""


def wait_for_answer(peer: Peer, program: Program, upstream: int) -> None:
    """Return when `program` answers a whole request with 200."""
    cell = next(each for each in CELLS if each.format in peer.paths and each.kind == "whole")
    url = f"http://127.0.0.1:{program.port}{peer.paths[cell.format]}"
    body = cell.body(peer.model.format("bench-whole"))
    late = time.monotonic() + READY_SECONDS
    why = ""
    with httpx.Client(trust_env=False, timeout=10, headers=headers_of(peer, upstream)) as http:
        while time.monotonic() < late:
            try:
                answer = http.post(url, content=body)
                if answer.status_code == 200:
                    return
                why = answer.text[:200]
            except httpx.HTTPError as failed:
                why = str(failed)
            if not Path(f"/proc/{program.pids[0]}/cmdline").read_bytes():
                break
            time.sleep(0.02)
    raise TimeoutError(f"It gave no answer at its start: {why}")


def headers_of(peer: Peer | None, upstream: int) -> dict[str, str]:
    if peer is None:
        return {**BEARER}
    provider = f"http://127.0.0.1:{upstream}"
    headers = {name: each.format(provider=provider) for name, each in peer.headers.items()}
    return {"content-type": "application/json", **headers}


def measure_cells(program: Program, peer: Peer | None, upstream: int, scale: float) -> Found:
    """Return what each load found that `program` takes; without a `peer` it is the provider."""
    paths = {"messages": "/v1/messages", "chat": "/v1/chat/completions"}
    paths |= {"responses": "/v1/responses"}
    found: Found = {}
    failed: set[tuple[str, str]] = set()
    for cell in CELLS:
        path = (peer.paths if peer else paths).get(cell.format)
        if path is None:
            continue
        sort = (cell.format, cell.kind)
        if sort in failed and cell.kind == "paced":
            found[cell.name] = {"left out": NOT_RUN}
            continue
        model = f"bench-{cell.kind}"
        # the way to its other provider has a model's name of its own
        own = "codex-{}" if peer and peer.name == "LiteLLM" and cell.format == "responses" else ""
        name = (own or (peer.model if peer else "{}")).format(model)
        found[cell.name] = measure_cell(
            cell, program, path, cell.body(name), headers_of(peer, upstream), scale
        )
        if found[cell.name]["errors"]:
            wait_for_rest(program)  # from requests that nobody waits for any more
        if found[cell.name]["done"] < cell.connections / 2:
            failed.add(sort)
    return found


def wait_for_rest(program: Program) -> None:
    """Return when `program` takes hardly any CPU time, or after some seconds."""
    late = time.monotonic() + LONGEST_SETTLE_SECONDS
    before = tree_seconds(program)
    while time.monotonic() < late:
        time.sleep(SETTLE_SECONDS)
        now = tree_seconds(program)
        if now - before < RESTING * SETTLE_SECONDS:
            return
        before = now


def measure_cell(
    cell: Cell, program: Program, path: str, body: str, headers: dict[str, str], scale: float
) -> Found:
    """Return what one load found, with the CPU time that the program's processes spent on it."""
    paced = cell.kind == "paced"
    plan = {
        "port": program.port,
        "path": path,
        "body": body,
        "megabytes": cell.megabytes,
        "headers": {name: each for name, each in headers.items() if name != "content-type"},
        "connections": cell.connections,
        "seconds": cell.seconds * (1 if paced else scale),
        "ramp": RAMP_SECONDS if cell.connections > 1 else 0,
        "patience": PACED_PATIENCE_SECONDS if paced else PATIENCE_SECONDS,
    }
    before = tree_seconds(program)
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py"), json.dumps(plan)],
        capture_output=True,
        check=True,
        preexec_fn=among_others,
    )
    one: Found = json.loads(done.stdout)
    spent = max(tree_seconds(program) - before, 1 / TICKS)
    if program.pids:
        answers, tokens = one["done"], one["tokens"]
        one["requests/cpu-s"] = answers / spent if answers else None
        one["cpu-ms/answer"] = spent / answers * 1000 if answers else None
        one["cpu-us/token"] = spent / tokens * 1e6 if tokens else None
    return one


def tree_of(program: Program) -> Iterator[int]:
    seen: set[int] = set()
    for root in program.pids:
        for pid in descendants(root):
            if pid not in seen:
                seen.add(pid)
                yield pid


def tree_seconds(program: Program) -> float:
    """Return the CPU time of all processes of a program."""
    total = 0.0
    for pid in tree_of(program):
        with contextlib.suppress(OSError):
            total += cpu_seconds([pid])
    return total


def tree_memory(program: Program) -> float:
    """Return the PSS of all processes of a program, in MB."""
    total = 0.0
    for pid in tree_of(program):
        with contextlib.suppress(OSError):
            total += pss_of(pid)
    return total


def apart() -> Sequence[str]:
    """Return the words before a command which put it in a network without other hosts, none where
    the kernel or the user's rights do not give it one.
    """
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    inside = ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    words = ["unshare", "--net", *rights, *inside]
    try:
        tried = subprocess.run([*words, "true"], capture_output=True, check=False)
    except OSError:
        return []
    return words if tried.returncode == 0 else []


if __name__ == "__main__":
    plan = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(json.dumps(measure_rounds(**plan)))
