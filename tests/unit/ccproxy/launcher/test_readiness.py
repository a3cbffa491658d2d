from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest

from ccproxy.launcher.readiness import checks_of, get_health, wait_until_ready
from shared.settings.tree import load_settings


@pytest.fixture
def settings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return load_settings(security={"auth_token": "s3cret"})


@pytest.fixture
async def gateway():
    """A gateway that gives the answers it is told to, in turn, and remembers what it was asked."""

    told = SimpleNamespace(answers=[], asked=[], port=0)

    async def answer(reader, writer):
        told.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        status, body = told.answers.pop(0) if len(told.answers) > 1 else told.answers[0]
        said = body if status == 404 else json.dumps(body)
        writer.write(f"HTTP/1.1 {status} Whatever\r\nconnection: close\r\n\r\n{said}".encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        told.port = server.sockets[0].getsockname()[1]
        yield told


def checks(**statuses):
    return {
        "checks": {
            name: [{"status": status, "output": f"{name} is so"}]
            for name, status in statuses.items()
        }
    }


async def test_it_waits_until_the_answer_is_yes_and_then_takes_the_whole_picture(gateway, settings):
    gateway.answers = [
        (503, checks(bus="fail")),
        (503, {}),
        (200, checks()),
        (200, checks(claude_login="warn")),
    ]
    health = await wait_until_ready("127.0.0.1", gateway.port, settings)
    assert health.checks == [("claude_login", "warn", "claude_login is so")]
    assert [request.split(" ")[1] for request in gateway.asked] == ["/health/ready"] * 3 + [
        "/health"
    ]


def test_the_credential_of_a_route_has_the_route_as_its_name():
    credentials = [
        {"status": "pass", "output": "max login", "route": route} for route in ("/api", "/sdk")
    ]
    told = list(checks_of({"checks": {"oauth2_credentials": credentials}}))
    assert told == [("/api", "pass", "max login"), ("/sdk", "pass", "max login")]


def test_the_bus_has_the_name_of_its_program():
    told = list(checks_of({"checks": {"bus": [{"status": "fail", "output": "Redis is away."}]}}))
    assert told == [("Redis", "fail", "Redis is away.")]


async def test_it_shows_the_token(gateway, settings):
    gateway.answers = [(200, checks())]
    await get_health("127.0.0.1", gateway.port, "/health", settings)
    assert "x-api-key: s3cret\r\n" in gateway.asked[0]


async def test_what_is_missing_is_named(gateway, settings):
    gateway.answers = [(503, checks(bus="pass", sdk_worker="fail", analytics="fail"))]
    health = await get_health("127.0.0.1", gateway.port, "/health/ready", settings)
    assert not health.ready
    assert health.failing() == "sdk_worker, analytics"


async def test_an_answer_that_is_no_json_is_not_ready(gateway, settings):
    gateway.answers = [(404, "Not here.")]
    assert not (await get_health("127.0.0.1", gateway.port, "/health", settings)).ready


async def test_it_does_not_wait_for_ever_for_a_part_of_the_stack(gateway, settings):
    gateway.answers = [(503, checks(sdk_worker="fail"))]
    health = await wait_until_ready("127.0.0.1", gateway.port, settings, timeout=0.2)
    assert health.failing() == "sdk_worker"


async def test_a_stack_that_tells_its_status_alone_is_not_waited_for_for_ever(gateway, settings):
    gateway.answers = [(503, {"status": "fail"})]
    health = await wait_until_ready("127.0.0.1", gateway.port, settings, timeout=0.2)
    assert (health.ready, health.answered, health.checks) == (False, True, [])


async def test_nobody_there_is_not_ready(settings):
    assert not (await get_health("127.0.0.1", 1, "/health", settings)).ready
