from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from email.utils import formatdate

import httpx
import pytest

from ccproxy.cli import checks_outside as checks
from ccproxy.cli.checks import Machine
from ccproxy.cli.found_stack import find_stack
from shared.settings.tree import load_settings
from tests.support.trusting import trust_folder


@pytest.fixture
def machine(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in (
        "CONFIG_FILE",
        "CLAUDE_CONFIG_DIR",
        "CODEX_HOME",
        "CLAUDE_CODE_OAUTH_TOKEN",
        "CLAUDE__API_KEY",
    ):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SERVER__RUN_DIR", str(tmp_path / "run"))

    def make(**given: object) -> Machine:
        settings = load_settings(**given)
        stack = find_stack(settings, [])
        return Machine(settings, stack=stack if stack.pid else None)

    return make


@pytest.fixture
async def server():
    """`await server(head, rest=b"", after=event)`: an HTTP server that answers so; returns its
    address.
    """
    async with contextlib.AsyncExitStack() as stack:

        async def start(head: bytes, rest: bytes = b"", after: asyncio.Event | None = None) -> str:
            async def answer(reader, writer):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(head.replace(b"\n", b"\r\n") + b"\r\n\r\n")
                if after is not None:
                    await after.wait()
                writer.write(rest)
                with contextlib.suppress(ConnectionError):
                    await writer.drain()
                writer.close()

            listening = await asyncio.start_server(answer, "127.0.0.1", 0)
            stack.push_async_callback(listening.wait_closed)
            stack.callback(listening.close)
            return f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

        yield start


def only(found):
    [finding] = found
    return finding


async def test_a_provider_that_answers_anything_is_reachable(server):
    url = await server(
        b"HTTP/1.1 404 Not Found\ncontent-length: 0\ndate: " + formatdate(usegmt=True).encode()
    )
    async with httpx.AsyncClient() as client:
        assert only(await checks.look_at_provider(client, "claude", url)).status == "pass"


async def test_a_provider_nobody_reaches_is_wrong():
    async with httpx.AsyncClient() as client:
        finding = only(await checks.look_at_provider(client, "claude", "http://127.0.0.1:1"))
    assert finding.status == "fail"
    assert "HTTPS_PROXY" in finding.fix


async def test_a_clock_that_is_off_is_told(server):
    late = formatdate(time.time() + 600, usegmt=True).encode()
    url = await server(b"HTTP/1.1 200 OK\ncontent-length: 0\ndate: " + late)
    async with httpx.AsyncClient() as client:
        _, finding = await checks.look_at_provider(client, "claude", url)
    assert finding.about == "clock"
    assert "behind" in finding.says


def test_a_server_that_tells_no_time_says_nothing_about_the_clock():
    assert checks.clock_skew("") == checks.clock_skew("soon") == 0


async def test_a_server_of_redis_url_that_is_away_is_wrong(machine, redis_url):
    away = only(await checks.look_at_redis_server(machine(redis={"url": "redis://127.0.0.1:1"})))
    assert away.status == "fail"
    assert (
        only(await checks.look_at_redis_server(machine(redis={"url": redis_url}))).status == "pass"
    )
    assert await checks.look_at_redis_server(machine()) == []


async def test_a_server_of_redis_url_that_is_too_old_is_wrong(machine):
    async def old_server(reader, writer):
        answers = {b"SETINFO\r\n": b"+OK\r\n", b"INFO\r\n": b"$22\r\nredis_version:5.0.14\r\n\r\n"}
        while word := await reader.readline():
            writer.write(answers.get(word, b""))
        writer.close()

    async with await asyncio.start_server(old_server, "127.0.0.1", 0) as listening:
        address = f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
        finding = only(await checks.look_at_redis_server(machine(redis={"url": address})))
    assert (finding.status, "5.0.14; 6.2 or newer" in finding.says, bool(finding.fix)) == (
        "fail",
        True,
        True,
    )


@pytest.mark.parametrize(
    ("version", "settings", "status", "says"),
    [
        (None, {}, "pass", "not needed"),
        (None, {"system_prompt_injection_mode": "append"}, "warn", "neutral sentence"),
        (None, {"enabled": False}, None, ""),
        ("0.99.1", {}, "warn", "fewer models"),
        ("0.200.0-alpha.1", {}, "pass", "version 0.200.0"),
        ("who knows", {}, "warn", "does not tell"),
    ],
)
async def test_a_codex_that_is_missing_or_too_old_is_told(
    machine, tmp_path, monkeypatch, version, settings, status, says
):
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    if version:
        answer = "echo '{\"models\": []}'" if version[0].isdigit() else "exit 2"
        (tmp_path / "bin/codex").write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && echo codex-cli {version} || {answer}\n'
        )
        (tmp_path / "bin/codex").chmod(0o755)
    found = await checks.look_at_codex_program(machine(codex=settings))
    assert [finding.status for finding in found] == ([status] if status else [])
    assert all(
        says in finding.says and (finding.fix or finding.status == "pass") for finding in found
    )


async def test_a_claude_that_is_too_old_is_told_with_what_to_do(machine, tmp_path):
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\necho '1.0.3 (Claude Code)'\n")
    program.chmod(0o755)
    (tmp_path / ".env").write_text(f"CLAUDE__CLI_PATH={program}\n")
    trust_folder()
    finding = only(await checks.look_at_claude_program(machine()))
    assert (finding.status, "1.0.3" in finding.says, bool(finding.fix)) == ("fail", True, True)


async def test_a_login_that_cannot_be_written_back_is_told_with_what_to_do(machine, tmp_path):
    login = tmp_path / ".claude/.credentials.json"
    login.parent.mkdir()
    tokens = {"accessToken": "a", "refreshToken": "r", "expiresAt": (time.time() + 3600) * 1000}
    login.write_text(json.dumps({"claudeAiOauth": tokens}))
    login.chmod(0o400)
    claude = next(
        found for found in await checks.look_at_credentials(machine()) if found.about == "/api"
    )
    assert (claude.status, "mount its directory read-write" in claude.says) == ("warn", True)


async def test_the_worker_says_which_program_it_would_use(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("CLAUDE__CLI_PATH", str(tmp_path / "none"))
    finding = only(await checks.look_at_claude_program(machine()))
    assert finding.status == "fail"
    assert "npm install" in finding.says
    old = tmp_path / "claude"
    old.write_text("#!/bin/sh\necho 1.0.3\n")
    old.chmod(0o755)
    monkeypatch.setenv("CLAUDE__CLI_PATH", str(old))
    assert "1.0.3" in only(await checks.look_at_claude_program(machine())).says
    assert await checks.look_at_claude_program(machine(sdk={"workers": 0})) == []


async def test_no_login_at_all_is_wrong_and_one_of_two_is_enough(machine):
    none = await checks.look_at_credentials(machine())
    assert [finding.status for finding in none] == ["fail", "fail", "fail"]
    one = await checks.look_at_credentials(machine(claude={"api_key": "sk-ant-x"}))
    assert [(finding.about, finding.status) for finding in one] == [
        ("/api", "pass"),
        ("/sdk", "pass"),
        ("/codex", "pass"),
    ]


async def test_a_running_stack_is_asked_what_it_complains_of(machine, server, tmp_path):
    body = json.dumps(
        {"status": "fail", "checks": {"bus": [{"status": "fail", "output": "Redis is away."}]}}
    ).encode()
    url = await server(b"HTTP/1.1 200 OK\ncontent-type: application/json", body)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/lock").write_text(json.dumps({"pid": os.getpid(), "url": url}))
    finding = only(await checks.look_at_stack(machine()))
    assert (finding.about, finding.status, finding.says) == (
        "stack: Redis",
        "fail",
        "Redis is away.",
    )


async def test_the_use_of_stored_responses_is_told_beside_a_stack_that_is_well(
    machine, server, tmp_path
):
    stored = [{"status": "pass", "output": "2 stored, 900 bytes."}]
    body = json.dumps({"status": "pass", "checks": {"stored_responses": stored}}).encode()
    url = await server(b"HTTP/1.1 200 OK\ncontent-type: application/json", body)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/lock").write_text(json.dumps({"pid": os.getpid(), "url": url}))
    _, told = await checks.look_at_stack(machine())
    assert (told.about, told.status, told.says) == (
        "stored responses",
        "pass",
        "2 stored, 900 bytes.",
    )


async def test_a_proxy_that_passes_each_event_on_is_well(machine, server):
    never = asyncio.Event()
    soon = asyncio.get_running_loop().call_later(1.0, never.set)
    url = await server(
        b"HTTP/1.1 200 OK\ncontent-type: text/event-stream\n\nevent: ping\n", b"event: ping", never
    )
    found = await checks.look_through_proxy(machine(), url)
    soon.cancel()
    assert only(found).status == "pass"


async def test_a_proxy_that_keeps_a_stream_is_wrong(machine, server, monkeypatch):
    monkeypatch.setattr(checks, "SLACK_SECONDS", 0.2)
    never = asyncio.Event()
    url = await server(
        b"HTTP/1.1 200 OK\ncontent-type: text/event-stream\n\nevent: ping\n", after=never
    )
    found = await checks.look_through_proxy(machine(server={"ping_interval_seconds": 0.1}), url)
    never.set()
    assert only(found).status == "fail"
    assert "proxy_buffering off" in only(found).fix


async def test_a_proxy_that_refuses_is_told_apart(machine, server):
    url = await server(b"HTTP/1.1 403 Forbidden\ncontent-length: 0")
    assert "SECURITY__ALLOWED_HOSTS" in only(await checks.look_through_proxy(machine(), url)).fix
