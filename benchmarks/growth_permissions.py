"""Growth of the permission service: its rules, and the requests that wait for a person.

The rules are read from a file and from Redis by the real rule book; the requests are asked,
decided and listed by the real service on a real Redis, while one page watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import tomlkit

from benchmarks.curves import CONSTANT, LINEAR, Curve, Growth, cpu_ms, cpu_ms_of, in_turn
from benchmarks.scale import running_redis
from permission_service.decision import Policy
from permission_service.requests import PermissionRequests
from permission_service.rule_book import RuleBook
from permission_service.server import PermissionServer
from permission_service.store import RequestStore
from shared.bus import Bus
from shared.bus.channels import PermissionQuery, PermissionRequest, encode_payload
from shared.permissions.protected import ProtectedPaths
from shared.permissions.rules import Rule
from shared.runtime.metrics import Metrics, PermissionMetrics

PROJECT = "/srv/project"
HISTORY = 1000  # ended requests, the most that the service keeps
BUDGET_MS = 5  # of a decision by rule


def a_rule(number: int) -> Rule:
    """Return a rule of a book as people make it: commands, folders, hosts, tools of MCP servers;
    one in fifty denies, and most are of a session or a caller.
    """
    effect = "deny" if number % 50 == 0 else "allow"
    owner: dict[str, Any] = (
        {"scope": "session", "caller": "laptop", "session_id": f"session-{number % 400}"}
        if number % 3 == 0
        else {"scope": "caller", "caller": f"caller-{number % 20}"}
        if number % 3 == 1
        else {}
    )
    kinds: tuple[dict[str, Any], ...] = (
        {"tool": "Bash", "command_prefix": f"tool-{number % 500} sub-{number}"},
        {"tool": "Bash", "command": f"make target-{number}"},
        {"tool": "Write", "under": f"{PROJECT}/part-{number}"},
        {"tool": "WebFetch", "host": f"host-{number}.example.org"},
        {"tool": f"mcp__server-{number % 40}__tool-{number}"},
    )
    return Rule(effect=effect, **kinds[number % len(kinds)], **owner)


# A rule that denies a command may concern every other one, so a command is compared with each.
DENIES_COMMANDS = "in denied commands"
QUESTIONS = {
    "a command that a rule allows": ("Bash", {"command": "git status --short"}),
    "a command without a rule": ("Bash", {"command": "cargo build --release"}),
    "a compound command": ("Bash", {"command": "cd src && ls | wc -l"}),
    "a file to write": ("Write", {"file_path": f"{PROJECT}/part-new/a.py", "content": "x"}),
    "a tool of an MCP server": ("mcp__github__list_issues", {"repo": "a/b"}),
}


class Told:
    """A delivery that keeps the last reply."""

    def __init__(self, payload: Any) -> None:
        self.payload = encode_payload(payload)
        self.last = b""
        self.caller_gone = asyncio.Event()
        self.caller_gave_up = False

    async def send(self, data: bytes) -> None:
        self.last = data


def a_request(name: str, tool: str, given: dict[str, Any], caller: str = "laptop") -> Any:
    return PermissionRequest(
        name, tool, given, caller=caller, session_id="session-1", working_directory=PROJECT
    )


async def rules(sizes: list[int]) -> Growth:
    """Return the cost of a decision among so many rules."""
    policies: dict[int, Policy] = {}
    with tempfile.TemporaryDirectory(prefix="ccgrowth") as made, running_redis() as (url, _):
        async with Bus(url, service="permission_service", instance="growth") as bus:
            for size in sizes:
                path = Path(made) / f"{size}.toml"
                known = [a_rule(number) for number in range(size)]
                fixed = Rule(tool="Bash", command_prefix="git status")
                lasting = [fixed, *(rule for rule in known if rule.scope == "always")]
                shapes = [rule.model_dump(exclude_none=True, exclude={"scope"}) for rule in lasting]
                path.write_text(tomlkit.dumps({"rules": shapes}))
                book = RuleBook(bus, path, time.time)
                for rule in known:
                    if rule.scope != "always":
                        await book.add(rule, "growth")
                policies[size] = Policy(book, ProtectedPaths((), home="/nowhere"))
            curves = [
                Curve(
                    label,
                    LINEAR if tool == "Bash" else CONSTANT,
                    await in_turn(
                        {
                            size: partial(decided, policy, a_request("one", tool, given))
                            for size, policy in policies.items()
                        }
                    ),
                    DENIES_COMMANDS if tool == "Bash" else "",
                )
                for label, (tool, given) in QUESTIONS.items()
            ]
    slowest = max(cost for curve in curves for cost in curve.costs.values())
    return Growth(
        "A decision by rule",
        "rules",
        "CPU-ms",
        curves,
        "Two thirds of the rules are remembered for a session or a caller, one in fifty denies. "
        f"The budget of a decision is {BUDGET_MS} ms; the slowest here took {slowest:.2g} ms.",
    )


async def decided(policy: Policy, request: PermissionRequest) -> float:
    policy.decide(request)
    return cpu_ms(lambda: policy.decide(request), 5)


@dataclass
class Service:
    """A permission service with open requests, each with a waiting asker, and one watching page."""

    server: PermissionServer
    requests: PermissionRequests
    numbers: Iterator[int]

    async def ask(self) -> tuple[str, asyncio.Task[None]]:
        """Open a request, and return its id and the task of its asker."""
        name = f"new-{next(self.numbers)}"
        request = a_request(name, "Bash", {"command": "cargo build"}, f"caller-{name}")
        task = asyncio.create_task(self.server.ask(Told(request)))  # type: ignore[arg-type]
        changes = self.server._askers._changes
        while True:
            news = changes.news
            if self.requests.knows(name) and self.requests.find(name).presentation:
                break
            await news.wait()
        return name, task

    async def question(self, verb: str, **parameters: Any) -> Any:
        told = Told(asdict(PermissionQuery(verb, parameters, by="growth")))
        await self.server.answer(told)  # type: ignore[arg-type]
        return orjson.loads(told.last)

    async def create(self) -> float:
        """Return the CPU-ms of opening a request; it is withdrawn afterwards."""
        began = time.process_time()
        name, task = await self.ask()
        spent = time.process_time() - began
        await self.question("decide", request_id=name, allowed=True)
        await task
        return 1000 * spent

    async def decide(self) -> float:
        """Return the CPU-ms from an answer to the decision that its asker got."""
        name, task = await self.ask()
        began = time.process_time()
        await self.question("decide", request_id=name, allowed=True)
        await task
        return 1000 * (time.process_time() - began)

    async def list(self) -> float:
        question = Told(asdict(PermissionQuery("list", {}, by="growth")))
        return await cpu_ms_of(lambda: self.server.answer(question), 1)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def serving(url: str, size: int) -> AsyncIterator[Service]:
    """Yield a service with `size` open requests and as many ended ones, at most HISTORY."""
    async with Bus(url, service="permission_service", instance=f"g{size}") as bus:
        requests = PermissionRequests(3600, 16)
        server = PermissionServer(
            requests,
            RequestStore(bus),
            RuleBook(bus, Path("/nowhere/rules.toml"), time.time),
            bus,
            PermissionMetrics(Metrics()),
        )
        await server.load()
        service = Service(server, requests, iter(range(1_000_000)))
        for _ in range(min(size, HISTORY)):
            await service.create()
        waiting = []
        changes = server._askers._changes
        for number in range(size):
            ask = a_request(f"open-{number}", "Bash", {"command": "ls"}, f"caller-{number // 10}")
            requests.keep(requests.present(requests.open(ask, time.time())))
            waiting.append(asyncio.create_task(changes.until_settled(ask.request_id)))
        watch = Told(asdict(PermissionQuery("watch", {"after": requests.last_number}, by="page")))
        waiting.append(asyncio.create_task(server.answer(watch)))  # type: ignore[arg-type]
        await asyncio.sleep(0)
        try:
            yield service
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


async def requests(sizes: list[int]) -> Growth:
    """Return the cost of opening, deciding and listing beside so many open requests."""
    operations: dict[str, tuple[float, Callable[[Service], Any], str]] = {
        "open a request": (CONSTANT, lambda service: service.create, ""),
        "decide one": (CONSTANT, lambda service: service.decide, ""),
        "list all": (LINEAR, lambda service: service.list, "in the answer"),
    }
    async with contextlib.AsyncExitStack() as opened:
        services = {}
        for size in sizes:
            url, _ = opened.enter_context(running_redis())
            services[size] = await opened.enter_async_context(serving(url, size))
        curves = [
            Curve(
                label,
                expected,
                await in_turn({size: measured(each) for size, each in services.items()}),
                why,
            )
            for label, (expected, measured, why) in operations.items()
        ]
    return Growth(
        "Permission requests",
        "open requests",
        "CPU-ms",
        curves,
        f"Each open request has an asker that waits, at most {HISTORY:,} ended ones are kept, and "
        "one page watches.",
    )
