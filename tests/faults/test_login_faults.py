"""Faults around the files and renewals of logins, on a real stack under load."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccproxy.launcher.programs import find_script
from tests.faults.cells import ASKED_BEFORE, Table
from tests.faults.load import KINDS, Load, Seen, ask, asked, running
from tests.faults.test_clients import client
from tests.support.logins import claude_content, claude_login, codex_content, put
from tests.support.simulator_fixture import GroundTruth
from tests.support.stack import Stack, simulated, simulators, stacks

pytestmark = [pytest.mark.faults, pytest.mark.claude, pytest.mark.timeout(240)]

SLOW_REFRESH = "sk-ant-ort01-slow-6-seconds"  # longer than a gateway had before it was killed
TEARS = 5
TORN_SECONDS = 0.15
CODEX = next(kind for kind in KINDS if kind.path.startswith("/codex"))

Start = Callable[..., Stack]


@pytest.fixture
def start(_homes: Callable[[], Path]) -> Iterator[Start]:
    """Start a stack of two gateways that use logins; keywords are settings."""
    for start_simulator in simulators(_homes):
        url = start_simulator()
        settings = {
            name: value for name, value in simulated(url).items() if not name.endswith("API_KEY")
        }
        settings |= {
            "CLAUDE__OAUTH__TOKEN_URL": f"{url}/v1/oauth/token",
            "CODEX__OAUTH__BASE_URL": url,
        }
        yield from stacks(
            find_script("ccproxy"),
            _homes,
            settings | {"SERVER__WORKERS": "2", "SDK__POOL_SIZE": "0"},
        )


async def test_a_stop_during_a_renewal_keeps_the_new_login(
    start: Start, tmp_path: Path, table: Table
) -> None:
    login = put(tmp_path / "login.json", claude_content(expires_in=3600, refresh=SLOW_REFRESH))
    stack = await asyncio.to_thread(lambda: start(CLAUDE__CREDENTIALS_FILE=str(login)).wait_ready())
    truth = GroundTruth(stack.simulator_url)
    put(login, claude_content(refresh=SLOW_REFRESH))  # it has expired now
    seen = Seen()
    async with client() as http:

        async def ask_until_renewal() -> None:
            # A gateway looks at the file once a second, and uses the earlier content until then.
            while not truth.requests("/v1/oauth/token"):
                await ask(http, stack.url, KINDS[0], seen)

        asking = asyncio.create_task(ask_until_renewal())
        await truth.until(lambda found: [each for each in found if each.path == "/v1/oauth/token"])
        code = await asyncio.to_thread(stack.stop)
        await asking
    truth.close()
    assert code == 0
    renewed = claude_login(login)["refreshToken"]
    assert renewed != SLOW_REFRESH, "the new login was received and kept"
    again = await asyncio.to_thread(lambda: start(CLAUDE__CREDENTIALS_FILE=str(login)).wait_ready())
    async with client() as http:
        assert await ask(http, again.url, KINDS[0], seen) == "ok"
    table.add(
        "the stack is stopped during the renewal of a login",
        "1 typed, and answered after the start",
        "no login",
    )


async def test_a_login_file_that_is_torn_for_a_moment_fails_no_request(
    start: Start, tmp_path: Path, table: Table
) -> None:
    login = put(tmp_path / "auth.json", codex_content(expires_in=3600))
    stack = await asyncio.to_thread(
        lambda: start(CLAUDE__API_KEY="sk-ant-made-up", CODEX__AUTH_FILE=str(login)).wait_ready()
    )
    whole = json.dumps(codex_content(expires_in=3600)).encode()
    async with running(Load(stack.url)) as seen:
        await asked(seen, ASKED_BEFORE)
        for _ in range(TEARS):
            with login.open("r+b") as file:
                file.truncate()
                file.write(whole[: len(whole) // 2])
                file.flush()
                await asyncio.sleep(TORN_SECONDS)
                file.write(whole[len(whole) // 2 :])
            await asked(seen, ASKED_BEFORE)
    assert seen.counts.keys() == {"ok"}, (seen.sentence(), seen.words)
    assert seen.by_path[CODEX.path, "ok"]
    assert os.stat(login).st_size == len(whole)
    table.add(f"the login file is torn for {TORN_SECONDS} s", seen.sentence(), times=TEARS)
