"""The house rules a machine can check: who may import whom, how long things may be, what may be
caught where.
"""

from __future__ import annotations

import ast
import gc
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = (
    "shared",
    "gateway",
    "sdk_worker",
    "permission_service",
    "analytics",
    "simulator",
    "ccproxy",
)
MAY_IMPORT = {
    "shared": {"shared"},
    "gateway": {"gateway", "shared"},
    "sdk_worker": {"sdk_worker", "shared"},
    "permission_service": {"permission_service", "shared"},
    "analytics": {"analytics", "shared"},
    "simulator": {"simulator", "shared"},
    "ccproxy": {"ccproxy", "shared"},
}
# A library with one room: the module (or package) that may import it.
ONE_ROOM = {
    "redis": ("shared/bus",),
    "duckdb": ("analytics/store.py", "analytics/opening.py"),
    "claude_code_sdk": (),  # by name only, see ON_DEMAND
    "claude_agent_sdk": (),
    "mcp": (),
    "prometheus_client": ("shared/runtime/metrics.py",),
    "arq": ("analytics/",),
    "genai_prices": ("shared/accounts/prices.py",),
    "opentelemetry": ("shared/runtime/otlp.py",),
    "typer": ("ccproxy/",),
    "rich": ("ccproxy/",),
    "segno": ("ccproxy/cli/phone.py",),
    "cryptography": ("permission_service/notify/sealing.py",),
    "jwt": ("permission_service/notify/sealing.py",),
    "supervisor": ("ccproxy/",),
    "aiohttp": ("gateway/providers/http.py",),
    "brotli": ("gateway/server/decoding.py",),
    "backports": ("gateway/server/decoding.py", "simulator/codex/"),
    "fastapi": ("gateway/",),
    "starlette": ("gateway/", "simulator/"),
    "uvicorn": (
        "gateway/server/process.py",
        "gateway/server/connections.py",
        "gateway/server/unchunked.py",
        "simulator/process.py",
    ),
}
# Where anything may be caught, and why: at the edges past which an exception would take a process
# with it, and where a cancellation too must be cleaned up after.
BROAD_EXCEPT = {
    "gateway/server/access_log.py": "the ASGI edge",
    "gateway/proxy/relay.py": "the relay",
    "gateway/server/reload.py": "the task that reloads the settings",
    "gateway/capture/captures.py": "a request that cannot be cleaned is not written",
    "simulator/app.py": "the ASGI edge",
    "shared/bus/calls.py": "a call that did not begin is withdrawn",
    "shared/bus/sentinel.py": "a connection that was not confirmed is closed",
    "gateway/providers/__init__.py": "what was opened is closed again",
    "gateway/providers/billing.py": "what was opened is closed again",
    "gateway/metering/records.py": "records that were not published go back",
    "gateway/metering/quota.py": "quota that was not published is published later",
    "sdk_worker/sessions.py": "a process with an unknown conversation is ended",
    "sdk_worker/worker.py": "a turn that was cut off is settled",
    "sdk_worker/claude/pool.py": "a process that was not set up is ended",
    "analytics/store.py": "a transaction is rolled back",
    "ccproxy/cli/top.py": "an error of a thread is raised where its answer is awaited",
}
# Where text may be written to a terminal, and why that is safe: everywhere else it goes through
# these.
TERMINAL_WRITERS = {
    "ccproxy/cli/console.py": "the way to stderr and to the log on stdout; escapes",
    "ccproxy/cli/output.py": "the way to stdout; escapes",
    "ccproxy/launcher/alive.py": "sentences of our own; the answer of the gateway stands in them "
    "as its repr",
    "ccproxy/cli/app.py": "the version and the completion script, our own text",
    "ccproxy/cli/start.py": "the status line, after `visible_line`",
    "ccproxy/cli/demo.py": "markup of our own; text from outside goes through `plain`",
    "ccproxy/cli/doctor.py": "rich Text of `visible`",
    "ccproxy/cli/permissions/screen.py": "rich Text of `visible`",
    "ccproxy/cli/top.py": "rich Text of `visible_line`",
    "shared/runtime/process.py": "one escaped sentence before there is a log",
    "sdk_worker/process.py": "JSON in ASCII",
    "simulator/process.py": "JSON in ASCII",
}
WRITING_CALLS = re.compile(
    r"print|(typer|click)\.(echo|secho)|(sys\.)?std(out|err)\.(buffer\.)?write(lines)?|os\.write"
    r"|.*[cC]onsole(\(.*\))?\.(print|log|out)"
)
PROVED_ELSEWHERE = {
    "gateway/metering/billing_order.py": "tests/contract/test_billing_order.py",
    "gateway/providers/billing.py": "tests/contract/test_billing_order.py",
    "gateway/routes/parts.py": "tests/contract/test_stored_responses.py",
    "gateway/routes/waiting.py": "tests/unit/gateway/waiting/test_queued_provider.py",
    "shared/bus/alerts.py": "tests/contract/test_alerts.py",
    "shared/bus/bus.py": "tests/contract/test_bus.py",
    "shared/bus/consumer.py": "tests/contract/test_bus_crashes.py",
    "shared/bus/session_store.py": "tests/contract/test_session_store.py",
    "shared/bus/link.py": "tests/contract/test_bus.py",
    "shared/bus/peers.py": "tests/contract/test_bus_crashes.py",
    "shared/formats/registry.py": "tests/contract/test_formats.py",
    "shared/formats/written.py": "tests/contract/test_formats.py",
    "gateway/server/process.py": "tests/e2e/test_gateway.py",
    "gateway/server/app.py": "tests/contract/test_gateway_openai.py",
    "gateway/server/management.py": "tests/unit/gateway/server/test_addresses.py",
    "gateway/proxy/beside.py": "tests/contract/test_served_models.py",
    "gateway/server/context.py": "tests/unit/gateway/server/test_access_log.py",
    "permission_service/process.py": "tests/contract/test_permission_process.py",
    "analytics/cache_insight.py": "tests/contract/test_cache_insight.py",
    "analytics/prompt_changes.py": "tests/contract/test_cache_insight.py",
    "analytics/process.py": "tests/contract/test_analytics_process.py",
    "ccproxy/cli/demo.py": "tests/e2e/test_demo.py",
    "ccproxy/launcher/workers.py": "tests/e2e/test_workers.py",
    "ccproxy/cli/exits.py": "tests/test_reference.py",
    "ccproxy/cli/worker.py": "tests/contract/test_joined_worker.py",
    "shared/bus/worker_access.py": "tests/contract/test_worker_access.py",
    "shared/bus/bounded.py": "tests/contract/test_bounded_store.py",
    "gateway/routes/captures.py": "tests/contract/test_captures.py",
    "ccproxy/cli/capture.py": "tests/contract/test_captures.py",
    "gateway/managed/accounts.py": "tests/contract/test_managed_sessions.py",
    "gateway/managed/agents.py": "tests/contract/test_managed_agents.py",
    "gateway/managed/bodies.py": "tests/contract/test_managed_agents.py",
    "gateway/managed/environments.py": "tests/contract/test_managed_agents.py",
    "gateway/managed/events.py": "tests/contract/test_managed_sessions.py",
    "gateway/managed/journal.py": "tests/contract/test_managed_sessions.py",
    "gateway/managed/listing.py": "tests/contract/test_managed_agents.py",
    "gateway/managed/objects.py": "tests/contract/test_managed_agents.py",
    "gateway/managed/runner.py": "tests/contract/test_managed_sessions.py",
    "gateway/managed/sent_events.py": "tests/contract/test_managed_sessions.py",
    "gateway/managed/sessions.py": "tests/contract/test_managed_agents.py",
    "gateway/managed/turn_events.py": "tests/contract/test_managed_sessions.py",
    "gateway/managed/turn_request.py": "tests/contract/test_managed_sessions.py",
    "gateway/managed/turns.py": "tests/contract/test_managed_sessions.py",
    "gateway/routes/managed_agents.py": "tests/contract/test_managed_agents.py",
    "gateway/routes/managed_sessions.py": "tests/contract/test_managed_sessions.py",
    "gateway/routes/managed_unserved.py": "tests/contract/test_managed_agents.py",
    "gateway/routes/responses.py": "tests/contract/test_stored_responses.py",
    "gateway/proxy/stored/memory.py": "tests/contract/test_stored_responses.py",
    "shared/bus/session_reports.py": "tests/contract/test_managed_jobs.py",
    "shared/bus/probe.py": "tests/unit/ccproxy/cli/test_checks_outside.py",
    "ccproxy/cli/permissions/keyboard.py": "tests/contract/test_permission_handler.py",
    "ccproxy/cli/permissions/script.py": "tests/contract/test_permission_handler.py",
    "ccproxy/cli/permissions/screen.py": "tests/contract/test_permission_handler.py",
    "ccproxy/cli/permissions/terminal.py": "tests/contract/test_permission_handler.py",
}
# Names that several modules define: the same part of several formats, services or commands.
NAMES_IN_SEVERAL_MODULES = {
    "Reader", "Writer",
    "info", "main", "read_error", "read_prompt", "read_usage",
    "status", "write_error", "write_prompt", "write_reply",
}  # fmt: skip
QUESTION_WORD = re.compile(
    r"(what|whether|who|whom|whose|when|where|why|how|which)\b", re.IGNORECASE
)
MAX_FILE_STATEMENTS = 330
MAX_FUNCTION_STATEMENTS = 45
MAX_MEDIAN_STATEMENTS = 6


@cache
def sources() -> dict[str, ast.Module]:
    """Every module of the product by its path, parsed."""
    paths = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    # CPython 3.11 loses count of its depth when a finalizer runs while it builds a tree
    gc.disable()
    try:
        return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in paths}
    finally:
        gc.enable()


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Each imported module's dotted name; `from a import b` counts as `a.b` and as `a`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def functions() -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}:{node.lineno} {node.name}", node


def statements(node: ast.AST) -> int:
    """Return the number of statements inside `node`, however many lines each takes."""
    return sum(isinstance(inner, ast.stmt) for inner in ast.walk(node)) - isinstance(node, ast.stmt)


def test_services_never_import_each_other() -> None:
    strangers = [
        f"{path} imports {name}"
        for path, tree in sources().items()
        for name, _ in imports(tree)
        if (room := name.partition(".")[0]) in ROOMS
        and room not in MAY_IMPORT[path.partition("/")[0]]
    ]
    assert not strangers


def test_formats_import_the_standard_library_only() -> None:
    allowed = {*sys.stdlib_module_names, "shared"}
    strangers = [
        f"{path} imports {name}"
        for path, tree in sources().items()
        if path.startswith("shared/formats/")
        for name, _ in imports(tree)
        if name.partition(".")[0] not in allowed
        or (
            name.startswith("shared.")
            and not name.startswith(("shared.formats", "shared.runtime.errors"))
        )
    ]
    assert not strangers


def test_a_library_is_imported_in_its_own_room_only() -> None:
    strangers = {
        f"{path} imports {library}"
        for path, tree in sources().items()
        for name, _ in imports(tree)
        if (library := name.partition(".")[0]) in ONE_ROOM
        and not path.startswith(ONE_ROOM[library])
    }
    assert not strangers


def public_definitions() -> Iterator[tuple[str, str]]:
    """Yield the name and the path of each public function and class at the top of a module."""
    for path, tree in sources().items():
        for node in tree.body:
            is_definition = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            if is_definition and not node.name.startswith("_"):
                yield node.name, path


def test_a_public_name_has_one_definition() -> None:
    places: dict[str, set[str]] = {}
    for name, path in public_definitions():
        places.setdefault(name, set()).add(path)
    assert {name for name, paths in places.items() if len(paths) > 1} == NAMES_IN_SEVERAL_MODULES


def test_a_docstring_begins_with_its_subject() -> None:
    found = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and QUESTION_WORD.match(ast.get_docstring(node) or "")
    ]
    assert not found


def test_no_import_hides_in_a_function() -> None:
    """Lazy commands of the command line are the one exception: `--help` must not load them, and a
    status line loads no command line at all.
    """
    hidden = [
        f"{where} imports {name}"
        for where, node in functions()
        if not where.startswith(("ccproxy/cli/app.py:", "ccproxy/cli/start.py:"))
        for name, _ in imports(node)
    ]
    assert not hidden


def test_the_import_graph_has_no_cycle() -> None:
    names = {module_name(path): path for path in sources()}
    graph = {
        name: {
            found
            for found, _ in imports(sources()[path])
            if found in names and found != name and not name.startswith(f"{found}.")
        }
        for name, path in names.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' → '.join(error.args[1])}")


def test_files_are_short_enough_to_read() -> None:
    found = {path: statements(tree) for path, tree in sources().items()}
    assert not {path: count for path, count in found.items() if count > MAX_FILE_STATEMENTS}


def test_functions_are_short_enough_to_read() -> None:
    found = {where: statements(node) for where, node in functions()}
    assert not {where: count for where, count in found.items() if count > MAX_FUNCTION_STATEMENTS}
    assert statistics.median(found.values()) <= MAX_MEDIAN_STATEMENTS


def test_everything_is_caught_at_the_listed_places_only() -> None:
    broad = {
        path
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler)
        if node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"}
    }
    assert broad == set(BROAD_EXCEPT)


def writing_modules() -> set[str]:
    """Return the modules that write text to a terminal themselves."""
    return {
        path
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and WRITING_CALLS.fullmatch(ast.unparse(node.func).removeprefix("self._"))
    }


def test_text_reaches_a_terminal_through_the_escaping_functions_only() -> None:
    assert writing_modules() == set(TERMINAL_WRITERS)


def test_every_module_states_its_idea() -> None:
    silent = [path for path, tree in sources().items() if not ast.get_docstring(tree)]
    long = [
        path
        for path, tree in sources().items()
        if len((ast.get_docstring(tree) or "").splitlines()) > 40
    ]
    assert not silent
    assert not long


def test_every_module_has_a_test_of_its_own() -> None:
    """tests/unit mirrors the rooms, so that a reader finds the proof of a module by its name."""
    modules = {path for path in sources() if not path.endswith("__init__.py")}
    without_test = {
        path
        for path in modules
        if not (ROOT / "tests/unit" / Path(path).with_name(f"test_{Path(path).name}")).exists()
    }
    assert without_test == set(PROVED_ELSEWHERE)
    assert [proof for proof in PROVED_ELSEWHERE.values() if not (ROOT / proof).is_file()] == []


def test_a_room_of_a_library_is_used() -> None:
    used = {
        (library, room)
        for path, tree in sources().items()
        for name, _ in imports(tree)
        if (library := name.partition(".")[0]) in ONE_ROOM
        for room in ONE_ROOM[library]
        if path.startswith(room)
    }
    assert used == {(library, room) for library, rooms in ONE_ROOM.items() for room in rooms}


def test_the_top_of_the_tests_holds_tests_only() -> None:
    loose = [
        path.name
        for path in (ROOT / "tests").glob("*.py")
        if not path.name.startswith("test_") and path.name != "conftest.py"
    ]
    assert not loose


def test_no_registry_and_no_path_of_a_machine_stands_in_the_tree() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    forbidden = (
        "py" + "pi.org",
        "pythonhosted" + ".org",
        "registry.np" + "mjs",
        r"(?<!\w)/ro" + "ot/",
        r"(?<!\w)/ho" + "me/",
    )
    found = [
        f"{name}: {word}"
        for name in tracked.split("\0")
        if name and (ROOT / name).is_file()
        for word in forbidden
        if re.search(word, (ROOT / name).read_text(errors="ignore"))
    ]
    assert not found


# Modules that are imported by their first use, and why: most processes never need them.
ON_DEMAND = {
    "shared/runtime/tracing.py": "OpenTelemetry, for those who want traces",
    "shared/accounts/token_server.py": "the HTTP client of a renewal, once in hours",
    "sdk_worker/claude/driver.py": "the SDKs, of which one drives `claude`",
    "analytics/process.py": "the push of metrics, which few want",
    "ccproxy/cli/app.py": "the groups of commands",
    "permission_service/notify/web_push.py": "cryptography, once a browser has subscribed",
    "shared/runtime/lean_imports.py": "parts of libraries that most processes never use",
}


def test_a_module_is_imported_by_name_at_the_listed_places_only() -> None:
    found = {
        path
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
        and ast.unparse(node) in {"import_module", "importlib.import_module"}
    }
    assert found == set(ON_DEMAND)


# What no service may load at its start: each costs memory in a process that does not use it.
NOWHERE = {"httpx._client", "rich", "mcp", "genai_prices.types", "httpx2._client"}
NO_GATEWAY = NOWHERE | {"fastapi", "aiohttp"}
UNUSED_AT_START = {
    "gateway.server.process": NOWHERE | {"duckdb", "arq", "typer"},
    "sdk_worker.process": NO_GATEWAY | {"claude_agent_sdk", "claude_code_sdk"},
    "permission_service.process": NO_GATEWAY | {"shared.formats.ir", "cryptography.hazmat"},
    "analytics.process": NO_GATEWAY | {"shared.formats.ir"},
    # A status line, printed every few seconds.
    "ccproxy.cli.statusline": NO_GATEWAY | {"typer", "pydantic", "http.client"},
    # It runs at every hook of Codex.
    "ccproxy.cli.hook": {"httpx._client", "tomlkit", "redis", "pydantic_settings"},
    "ccproxy.launcher.listener": NO_GATEWAY | {"redis", "pydantic", "asyncio"},
}


@pytest.mark.parametrize("module", UNUSED_AT_START)
def test_a_service_loads_only_what_it_uses(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert not UNUSED_AT_START[module] & set(done.stdout.split())
