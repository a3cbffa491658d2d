"""A real Redis for every test that wants one, and a check that nobody litters it.

`redis_url`    the address of a real, empty server (one per pytest process, on a unix socket). After the test, any key
               that could stay for ever fails it: a key needs a TTL, or a bound of its own (see `BOUNDED`).
`bus_factory`  `await bus_factory("gateway")` opens a Bus on that server and closes it after the test; keyword
               `instance` names it, `timings` replaces the shortened defaults (`QUICK`), `url` another server.
`own_redis`    a server of the test's own, to be killed: `.url`, `.start()`, `.kill()` (SIGKILL, data stays),
               `.forget()` (the data), `.stop()`.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import redis
from hypothesis import settings

from ccproxy.launcher.redis_server import find_server, render_config, socket_url
from shared.bus import Bus, Timings
from shared.runtime.log import NAME
from shared.settings.servers import RedisSettings

# HYPOTHESIS_PROFILE=soak looks much longer. A busy machine's delays are no failure.
settings.register_profile("quick", max_examples=25, deadline=None)
settings.register_profile("soak", max_examples=5_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

pytest_plugins = [
    "tests.support.simulator_fixture",
    "tests.support.analytics_process",
    "tests.support.browser",
]

QUICK = Timings(beat=0.1, lease=0.6, no_worker=1.0, reconnect=0.3)

# What may be kept without a TTL: the type and name of keys whose length their writer bounds.
BOUNDED = {"stream": "channel:"}

BusFactory = Callable[..., Awaitable[Bus]]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect tests without collecting garbage: nothing that this makes is garbage. The half
    million objects of ten thousand tests stay out of every later search, which would take half a
    second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_sessionfinish() -> None:
    """Let the interpreter end with everything, or DuckDB reports its own functions as leaks."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command run inside a test sets the log up for its own stderr, which is gone when the next
    test logs.
    """
    root = logging.getLogger()
    own = logging.getLogger(NAME)
    handlers = list(root.handlers)
    levels = (root.level, own.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


class RedisServer:
    """The server program the product would start, with the configuration it would get."""

    def __init__(self, run_dir: Path) -> None:
        text, self._socket = render_config(run_dir, run_dir / "redis")
        self._config, self._data = run_dir / "redis.conf", run_dir / "redis"
        self._config.write_text(text)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = socket_url(self._socket)

    def start(self) -> None:
        self._process = subprocess.Popen([find_server(RedisSettings()), self._config])
        deadline = time.monotonic() + 20
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ConnectionError:
                    if self._process.poll() is not None or time.monotonic() > deadline:
                        raise
                    time.sleep(0.01)
                else:
                    return

    def kill(self) -> None:
        """Die as in a power cut: no shutdown, the data stays on disk."""
        self._end(subprocess.Popen.kill)

    def forget(self) -> None:
        """Lose the data, as a server without a disk does; only while it is not running."""
        shutil.rmtree(self._data)
        self._data.mkdir()

    def stop(self) -> None:
        self._end(subprocess.Popen.terminate)

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is not None:
            how(self._process)
            self._process.wait(20)
            self._process = None


@pytest.fixture(scope="session")
def _redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(_redis_server: RedisServer) -> Iterator[str]:
    with redis.Redis.from_url(_redis_server.url) as client:
        client.flushall()
        yield _redis_server.url
        assert not unbounded_keys(client), "keys with neither a TTL nor a bound were left in Redis"


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "own")
    server.start()
    yield server
    server.stop()


def unbounded_keys(client: redis.Redis) -> list[str]:
    """Keys that would stay for ever."""
    keys = [key for key in client.scan_iter(count=1000) if client.ttl(key) == -1]
    return [
        key.decode()
        for key in keys
        if not key.decode().startswith(
            BOUNDED.get(client.type(key).decode(), "nothing of this type is bounded")
        )
    ]


@pytest.fixture
async def bus_factory(redis_url: str) -> AsyncIterator[BusFactory]:
    async with AsyncExitStack() as opened:
        count = 0

        async def open_bus(
            service: str = "gateway",
            *,
            instance: str | None = None,
            timings: Timings = QUICK,
            url: str | None = None,
        ) -> Bus:
            nonlocal count
            count += 1
            bus = Bus(
                url or redis_url,
                service=service,
                instance=instance or f"{service}-{count}",
                timings=timings,
            )
            return await opened.enter_async_context(bus)

        yield open_bus
