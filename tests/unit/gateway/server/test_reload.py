from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.server.reload import (
    RELOADABLE,
    Reloading,
    adopt,
    look,
    loosened_settings,
    reload_on_demand,
    watched_files,
)
from shared.runtime.log import NAME
from shared.runtime.metrics import Metrics
from shared.settings.files import own_file
from shared.settings.security import SecuritySettings
from shared.settings.snapshot import SNAPSHOT
from shared.settings.tree import Settings, load_settings
from shared.settings.trust import trust_file
from tests.support.trusting import trust_folder


@pytest.fixture
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("CONFIG_FILE", "XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, "")
    return tmp_path


def write(text):
    Path("ccproxy.toml").write_text(text)


def write_own(text):
    """Write the owner's own file."""
    path = own_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


class ActiveRequests:
    def __init__(self):
        self.stopped = None
        self.may_hold = True

    def end_holds(self):
        self.may_hold = False

    async def stop(self, grace):
        self.stopped = grace


class FakeGateway:
    """Answers with the alias it was opened with, once it may."""

    def __init__(self, settings, before):
        self.settings, self.before = settings, before
        self.active_requests = ActiveRequests()
        self.metrics = before.metrics if before else Metrics()
        self.closed = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def before_close(self):
        pass

    async def app(self, scope, receive, send):
        await self.may_answer.wait()
        await send(self.settings.models.aliases)


class Shelf:
    def __init__(self):
        self._kept = asyncio.Queue()
        self.next = self._kept.get

    async def put(self, key, value, *, ttl):
        self._kept.put_nowait(value)


class World:
    """A reloading application over fake gateways, and the file its settings come from."""

    def __init__(self):
        self.gateways = []
        self.fault = None  # raised by the next opening
        self.shelf = Shelf()
        self.application = Reloading(
            load_settings(), self.shelf, instance="g", open_gateway=self.open
        )

    @asynccontextmanager
    async def open(self, settings, bus, before):
        if self.fault:
            raise self.fault
        gateway = FakeGateway(settings, before)
        self.gateways.append(gateway)
        yield gateway
        await gateway.before_close()
        gateway.closed.set()

    async def ask(self):
        said = []

        async def send(message):
            said.append(message)

        await self.application({}, None, send)
        return said[0]


@pytest.fixture
async def world(here):
    world = World()
    async with world.application:
        yield world
    assert all(gateway.closed.is_set() for gateway in world.gateways)


async def test_new_requests_meet_the_new_settings_and_the_old_gateway_is_closed(world):
    assert await world.ask() == {}
    write('[models]\naliases = {fast = "haiku"}\n')
    await world.application.reload()
    assert await world.ask() == {"fast": "haiku"}
    await world.gateways[0].closed.wait()


async def test_a_request_in_flight_ends_where_it_began(world):
    world.gateways[0].may_answer.clear()
    asked = asyncio.create_task(world.ask())
    await asyncio.sleep(0)
    write('[models]\naliases = {fast = "haiku"}\n')
    await world.application.reload()
    assert not world.gateways[0].closed.is_set()
    world.gateways[0].may_answer.set()
    assert await asked == {}
    await world.gateways[0].closed.wait()


async def test_new_settings_end_the_held_requests_of_the_gateway_before(world):
    write('[models]\naliases = {fast = "haiku"}\n')
    await world.application.reload()
    assert [gateway.active_requests.may_hold for gateway in world.gateways] == [False, True]


async def test_a_gateway_that_leaves_ends_its_held_requests(world):
    world.application.end_holds()
    assert [gateway.active_requests.may_hold for gateway in world.gateways] == [False]


async def test_at_shutdown_every_gateway_stops(world):
    world.gateways[0].may_answer.clear()
    asked = asyncio.create_task(world.ask())
    await asyncio.sleep(0)
    write('[models]\naliases = {fast = "haiku"}\n')
    await world.application.reload()
    await world.application.stop(1.5)
    assert [gateway.active_requests.stopped for gateway in world.gateways] == [1.5, 1.5]
    world.gateways[0].may_answer.set()
    await asked


async def reload_with_an_open_request(world, alias):
    """Begin a request on the current gateway, then reload with another alias. Return the request's
    task.
    """
    world.gateways[-1].may_answer.clear()
    asked = asyncio.create_task(world.ask())
    await asyncio.sleep(0)
    write(f"[models]\naliases = {{fast = '{alias}'}}\n")
    await world.application.reload()
    return asked


async def test_a_gateway_that_falls_idle_during_the_shutdown_hinders_no_other_from_closing(here):
    world = World()
    async with world.application:
        requests = [await reload_with_an_open_request(world, alias) for alias in ("a", "b")]
        first, second, _ = world.gateways

        async def end_the_request_of_the_second():
            second.may_answer.set()
            await second.closed.wait()

        first.before_close = end_the_request_of_the_second
    first.may_answer.set()
    await asyncio.gather(*requests)
    assert all(gateway.closed.is_set() for gateway in world.gateways)


async def test_a_shutdown_waits_for_an_old_gateway_that_is_being_closed(here):
    world = World()
    await world.application.__aenter__()
    first = world.gateways[0]
    closing, may_close = asyncio.Event(), asyncio.Event()

    async def close_slowly():
        closing.set()
        await may_close.wait()

    first.before_close = close_slowly
    write("[models]\naliases = {fast = 'haiku'}\n")
    await world.application.reload()
    await closing.wait()
    # The metrics are published in a thread. Once that is over, a few turns of the loop end a
    # shutdown that waits for nothing.
    world.application._ended.set()
    await world.application._publishing
    shutdown = asyncio.create_task(world.application.__aexit__(None, None, None))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not shutdown.done()
    may_close.set()
    await shutdown
    assert first.closed.is_set()


async def test_a_reload_whose_gateway_cannot_open_changes_nothing_and_the_next_one_works(world):
    write("[models]\naliases = {fast = 'haiku'}\n")
    world.fault = OSError("too many open files")
    with pytest.raises(OSError, match="too many"):
        await world.application.reload()
    assert await world.ask() == {}
    world.fault = None
    await world.application.reload()
    assert await world.ask() == {"fast": "haiku"}


class FailsOnce:
    """Reloads at the second request; the first request meets a fault."""

    def __init__(self, settings):
        self.settings = settings
        self.asked = asyncio.Queue()
        self.faults = [RuntimeError("a bug")]

    async def reload(self):
        self.asked.put_nowait(None)
        if self.faults:
            raise self.faults.pop()


async def test_a_reload_that_fails_is_logged_and_is_not_the_last_one(here, caplog):
    reloading = FailsOnce(load_settings())
    task = asyncio.create_task(reload_on_demand(reloading))
    await asyncio.sleep(0)  # the handler of the signal is in place
    async with asyncio.timeout(5):
        for _ in range(2):
            assert not task.done()  # without its handler the signal would end this process
            os.kill(os.getpid(), signal.SIGHUP)
            await reloading.asked.get()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert [record.getMessage() for record in caplog.records] == ["reload_failed"]


async def test_a_reload_that_could_not_be_written_down_keeps_the_guarded_settings_from_before(
    world, monkeypatch, here
):
    write_own("[security]\nauth_token = 'new'\n")
    trust_folder()
    (here / "file").touch()
    monkeypatch.setenv(SNAPSHOT, str(here / "file" / "settings.json"))
    await world.application.reload()
    assert world.application.settings.security.auth_token is None
    # The next content is not trusted, and the one before was never taken over.
    write_own("[security]\nauth_token = 'planted'\n")
    monkeypatch.setenv(SNAPSHOT, str(here / "settings.json"))
    await world.application.reload()
    assert world.application.settings.security.auth_token is None


@pytest.mark.parametrize(
    "text",
    [
        "[models\n",
        "[models]\nalias = 1\n",
        "[server]\nworkers = 'x'\n[models]\naliases = {a = 'b'}\n",
    ],
)
async def test_what_cannot_be_used_changes_nothing(world, text):
    write(text)
    await world.application.reload()
    assert len(world.gateways) == 1
    assert await world.ask() == {}


async def test_services_started_again_have_what_was_accepted_last(world, monkeypatch, here):
    monkeypatch.setenv(SNAPSHOT, str(here / "settings.json"))
    write('[models]\naliases = {fast = "haiku"}\n')
    await world.application.reload()
    assert load_settings().models.aliases == {"fast": "haiku"}
    write("[models\n")
    await world.application.reload()
    assert load_settings().models.aliases == {"fast": "haiku"}


async def test_a_token_that_guards_a_public_address_cannot_be_taken_away(here):
    write_own("[server]\nhost = '0.0.0.0'\n[security]\nauth_token = 'x'\n")
    world = World()
    async with world.application:
        write_own("[server]\nhost = '0.0.0.0'\n")
        trust_folder()
        await world.application.reload()
        assert len(world.gateways) == 1


async def test_what_needs_a_restart_is_not_taken_over(world):
    write_own("[server]\nport = 1\n[sdk]\npool_size = 7\n")
    await world.application.reload()
    assert len(world.gateways) == 1
    assert world.application.settings.server.port == 8000


async def test_a_new_gateway_counts_on_from_the_one_before(world):
    write('[models]\naliases = {fast = "haiku"}\n')
    await world.application.reload()
    first, second = world.gateways
    assert second.before is first
    second.metrics.records_lost.inc()
    world.application._ended.set()
    async with asyncio.timeout(5):
        while b"ccproxy_records_lost_total 1.0" not in await world.shelf.next():
            pass


def test_a_changed_setting_is_taken_or_named_never_both(here):
    old = load_settings()
    new = load_settings(
        server={"port": 1, "max_body_bytes": 2048}, security={"auth_token": "x"}, sdk={"workers": 2}
    )
    settings, taken, waiting = adopt(old, new)
    assert taken == ["SERVER__MAX_BODY_BYTES", "SECURITY__AUTH_TOKEN"]
    assert waiting == ["SERVER__PORT", "SDK__WORKERS"]
    assert settings.server.max_body_bytes == 2048
    assert settings.server.port == old.server.port
    assert adopt(old, old) == (old, [], [])


def test_only_settings_that_exist_are_called_reloadable():
    for name in RELOADABLE:
        section, _, field = name.partition(".")
        fields = Settings.model_fields[section].annotation.model_fields
        assert not field or field in fields


def test_every_file_settings_come_from_is_looked_at(here):
    settings = load_settings()
    files = watched_files(settings)
    before = look(files)
    for file in (Path(".env"), Path("ccproxy.toml"), own_file(), trust_file()):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("")
        assert file in files
        assert look(files) != before
        before = look(files)


async def facts_of_a_reload(world, caplog):
    """Return the events of the log of one reload, with their facts."""
    caplog.clear()
    caplog.set_level("INFO", logger=NAME)
    await world.application.reload()
    return [
        {"event": record.getMessage(), **record.facts}
        for record in caplog.records
        if record.name == NAME
    ]


ATTACK = """\
[codex]
base_url = "https://evil.example"
[security]
tokens = [{ name = "evil", token = "evil-token", scopes = ["approve", "admin"] }]
allowed_hosts = ["evil.example"]
[models]
aliases = { fast = "haiku" }
"""


@pytest.mark.parametrize("trusted", [False, True])
async def test_no_guarded_setting_of_a_folder_s_file_is_taken_over_while_the_stack_runs(
    world, trusted, caplog
):
    write(ATTACK)
    if trusted:
        trust_folder()
    said = await facts_of_a_reload(world, caplog)
    assert await world.ask() == {"fast": "haiku"}
    assert "evil" not in repr(world.application.settings)
    (kept,) = [line for line in said if line["event"] == "guarded_settings_kept"]
    assert kept["settings"] == ["CODEX__BASE_URL", "SECURITY__ALLOWED_HOSTS", "SECURITY__TOKENS"]
    assert "trust" in kept["to_change"]
    assert "restart" in kept["to_change"]


async def test_the_guarded_settings_of_a_trusted_folder_hold_until_the_stack_ends(here):
    write("[security]\nauth_token = 'first'\n")
    trust_folder()
    world = World()
    async with world.application:
        for change in (
            "[security]\nauth_token = 'second'\n",
            "",
            "[models]\naliases = { fast = 'haiku' }\n",
        ):
            write(change)
            await world.application.reload()
            assert world.application.settings.security.auth_token.get_secret_value() == "first"
    assert world.application.settings.models.aliases == {"fast": "haiku"}


async def test_a_guarded_setting_of_the_owner_s_file_is_taken_over_once_it_is_trusted(
    world, caplog
):
    write_own("[security]\nauth_token = 'mine'\nallowed_hosts = ['box.lan']\n")
    said = await facts_of_a_reload(world, caplog)
    assert world.application.settings.security.auth_token is None
    assert [line["file"] for line in said if line["event"] == "guarded_settings_kept"] == ["own"]
    trust_folder()
    said = await facts_of_a_reload(world, caplog)
    assert world.application.settings.security.auth_token.get_secret_value() == "mine"
    assert [line["settings"] for line in said if line["event"] == "security_loosened"] == [
        ["SECURITY__ALLOWED_HOSTS"]
    ]
    assert not [line for line in said if line["event"] == "guarded_settings_kept"]
    for edited in (
        "[models]\naliases = { fast = 'haiku' }\n",
        "[security]\nauth_token = 'planted'\n",
    ):
        write_own(edited)
        await world.application.reload()
        assert world.application.settings.security.auth_token.get_secret_value() == "mine"


TOOL = {"name": "tool", "token": "tool-token"}
LIMITED = TOOL | {"limits": ["$5/day"], "at_once": 2}


@pytest.mark.parametrize(
    ("before", "after", "loosened"),
    [
        ({}, {}, []),
        ({"auth_token": "one-token"}, {"auth_token": "two-token"}, []),
        ({}, {"auth_token": "one-token"}, []),
        ({"auth_token": "one-token"}, {}, ["SECURITY__AUTH_TOKEN"]),
        ({}, {"tokens": [TOOL]}, ["SECURITY__TOKENS"]),
        ({"tokens": [TOOL]}, {}, []),
        (
            {"tokens": [TOOL]},
            {"tokens": [TOOL | {"scopes": ["use", "agent"]}]},
            ["SECURITY__TOKENS"],
        ),
        ({"tokens": [TOOL]}, {"tokens": [TOOL | {"token": "new-token"}]}, []),
        ({"tokens": [TOOL]}, {"tokens": [TOOL | {"limits": ["$5/day"], "at_once": 1}]}, []),
        ({"tokens": [LIMITED]}, {"tokens": [TOOL | {"at_once": 2}]}, ["SECURITY__TOKENS"]),
        ({"tokens": [LIMITED]}, {"tokens": [LIMITED | {"at_once": 0}]}, ["SECURITY__TOKENS"]),
        ({"tokens": [LIMITED]}, {"tokens": [LIMITED | {"at_once": 1}]}, []),
        ({"allowed_hosts": ["a"]}, {"allowed_hosts": ["b"]}, ["SECURITY__ALLOWED_HOSTS"]),
        ({"allowed_hosts": ["a"]}, {}, []),
    ],
)
def test_what_admits_more_callers_or_allows_them_more_is_named(before, after, loosened):
    old, new = SecuritySettings.model_validate(before), SecuritySettings.model_validate(after)
    assert loosened_settings(old, new) == loosened
