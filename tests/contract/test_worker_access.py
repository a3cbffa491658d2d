"""The users of workers of other machines, at a real server: what they may do, and who gets one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import redis
import redis.asyncio
from redis.exceptions import NoPermissionError, ResponseError

from shared.bus import Bus
from shared.bus.bounded import BoundedStore
from shared.bus.channels import (
    CUSTOM_RESULTS,
    PERMISSION_REQUESTS,
    SDK_TURN,
    SESSION_PREFIX,
    WORKER_DRAIN,
    labelled_turns,
    left_key,
)
from shared.bus.serving import serve_each
from shared.bus.session_store import RedisSessionStore
from shared.bus.worker_access import (
    JOINING_USER,
    WORKER_USER,
    AccessRefused,
    accept_invitation,
    check_access,
    invitation_key,
    invite_worker,
    revoke_worker,
)
from shared.runtime.errors import BusUnavailable
from shared.runtime.metric_snapshots import snapshot_key
from tests.conftest import QUICK

NAME = "attic"
ANSWER_SECONDS = 10.0


@pytest.fixture
def owner(redis_url):
    """The owner's client; the users of workers are gone after the test."""
    with redis.Redis.from_url(redis_url) as client:
        yield client
        users = [user for user in client.acl_users() if user != "default"]
        if users:
            client.acl_deluser(*users)


def as_user(redis_url, user, password):
    return redis_url.replace("unix://", f"unix://{user}:{password}@", 1)


async def join(redis_url, name=NAME, seconds=60.0):
    """Invite and join; return the address with the worker's user."""
    password, _ = await invite_worker(redis_url, name, seconds)
    joining = as_user(redis_url, JOINING_USER + name, password)
    return as_user(redis_url, WORKER_USER + name, await accept_invitation(joining, name))


@asynccontextmanager
async def serving(bus, channel, answer):
    """Answer each call of `channel` with `answer`."""

    async def handle(delivery):
        await delivery.send(answer)

    stop = asyncio.Event()
    task = asyncio.create_task(serve_each(bus, channel, handle, slots=2, stop=stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def answers(bus, channel):
    async with asyncio.timeout(ANSWER_SECONDS), bus.call(channel, {}) as replies:
        return [reply async for reply in replies]


async def allowed_of(url, commands):
    """Return those of `commands` that Redis does not refuse for want of a right."""
    allowed = []
    async with redis.asyncio.Redis.from_url(url) as client:
        for command in commands:
            try:
                await client.execute_command(*command)
            except ResponseError as error:
                # A script has an error of its own for what its user may not do.
                if isinstance(error, NoPermissionError) or "ACL" in str(error):
                    continue
            allowed.append(command)
    return allowed


async def wait_for(condition):
    """Ask until it is so; there is nothing to wait on."""
    async with asyncio.timeout(ANSWER_SECONDS):
        while not await condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_joined_worker_does_all_that_a_worker_does_and_redis_refuses_nothing(
    owner, redis_url, bus_factory
):
    worker_url = await join(redis_url)
    owner.acl_log_reset()
    gateway = await bus_factory("gateway")
    service = await bus_factory("permission_service")
    async with AsyncExitStack() as opened:
        worker = Bus(worker_url, service="sdk_worker", instance=NAME, timings=QUICK)
        await opened.enter_async_context(worker)
        channels = [
            SDK_TURN,
            labelled_turns(["gpu", "home"]),
            labelled_turns([NAME]),
            *(each.at(worker.address) for each in (SDK_TURN, CUSTOM_RESULTS, WORKER_DRAIN)),
        ]
        for channel in channels:
            await opened.enter_async_context(serving(worker, channel, b"done"))
        await opened.enter_async_context(serving(service, PERMISSION_REQUESTS, b"no"))
        for channel in channels:
            assert await answers(gateway, channel) == [b"done"]
        assert await answers(worker, PERMISSION_REQUESTS) == [b"no"]
        # A call that nobody waits for any more is withdrawn from its channel.
        async with gateway.call(SDK_TURN, {}):
            pass
        async with worker.call(PERMISSION_REQUESTS, {}):
            pass
        session = SESSION_PREFIX + "1"
        await worker.put(session, b"known", ttl=60)
        assert await worker.get(session) == b"known"
        assert await worker.lease(f"turn:{session}", "me", ttl=60)
        assert await worker.lease(f"turn:{session}", "me", ttl=0)
        await worker.put(left_key("1"), b"here", ttl=60)
        await worker.put(snapshot_key("sdk_worker", NAME), b"", ttl=60)
        transcripts = RedisSessionStore(
            BoundedStore(worker, "transcripts", lifetime=60, limit=100_000), most_bytes=100_000
        )
        key = {"project_key": session, "session_id": "t"}
        await transcripts.append(key, [{"uuid": "1"}])
        await transcripts.append(key | {"subpath": "agent"}, [{"uuid": "2"}])
        await transcripts.delete(key | {"subpath": "agent"})
        assert await transcripts.load(key) == [{"uuid": "1"}]
        await transcripts.delete(key)
    # redis-py tells its name and version at each connection, and does without.
    refused = {entry["object"] for entry in owner.acl_log()} - {"client|setinfo"}
    assert refused == set()


REFUSED = [
    ("GET", "managed:owner:session:state:1"),
    ("XREAD", "STREAMS", "channel:permission:query", "0"),
    ("XADD", "channel:permission:query", "*", "data", "{}"),
    ("XADD", "channel:access:record", "*", "data", "{}"),
    ("XADD", "inbox:sdk_worker:other:1-1", "*", "k", "reply"),
    ("XREAD", "STREAMS", "inbox:sdk_worker:other:1-1", "0"),
    ("XREADGROUP", "GROUP", "servers", "me", "STREAMS", "channel:sdk:turn@sdk_worker:other:1", ">"),
    ("SET", "process:gateway:g0:1-1", "{}"),
    ("DEL", "process:gateway:g0:1-1"),
    ("GET", "permissions:rules"),
    ("GET", "limits:token:1"),
    ("GET", "invitation:other"),
    ("EVAL", "return redis.call('GET', 'managed:owner:sizes')", "0"),
    ("EVAL", "return redis.call('FLUSHALL')", "0"),
    ("SELECT", "1"),
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("CONFIG", "GET", "*"),
    ("ACL", "WHOAMI"),
    ("ACL", "SETUSER", "me", "on"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("SHUTDOWN", "NOSAVE"),
    ("MONITOR",),
    ("REPLICAOF", "NO", "ONE"),
    ("SCRIPT", "FLUSH"),
    ("FUNCTION", "FLUSH"),
    ("PUBLISH", "channel", "word"),
    ("SUBSCRIBE", "channel"),
    ("RENAME", "left:1", "managed:1"),
    ("COPY", "left:1", "managed:1"),
    ("SORT", "left:1"),
    ("DUMP", "left:1"),
]


async def test_a_joined_worker_reaches_no_other_key_and_no_command_of_an_owner(owner, redis_url):
    owner.set("managed:owner:sizes", b"7", px=60_000)
    allowed = await allowed_of(await join(redis_url), REFUSED)
    assert allowed == []


async def test_a_worker_of_another_database_reaches_that_database_alone(owner, redis_url):
    url = await join(f"{redis_url}?db=2")
    await check_access(url)
    assert await allowed_of(url, [("SELECT", "0"), ("SELECT", "1")]) == []


async def test_an_invitation_is_taken_once(owner, redis_url):
    password, _ = await invite_worker(redis_url, NAME, 60)
    joining = as_user(redis_url, JOINING_USER + NAME, password)
    await check_access(
        as_user(redis_url, WORKER_USER + NAME, await accept_invitation(joining, NAME))
    )
    with pytest.raises(AccessRefused, match="used already"):
        await accept_invitation(joining, NAME)
    # The next command of the owner removes the user for joining, and leaves the worker's.
    await invite_worker(redis_url, "other", 60)
    assert set(owner.acl_users()) == {
        "default",
        WORKER_USER + NAME,
        WORKER_USER + "other",
        JOINING_USER + "other",
    }
    with pytest.raises(AccessRefused, match="does not know this user"):
        await accept_invitation(joining, NAME)


async def test_a_join_token_leads_to_nothing_but_its_invitation(owner, redis_url):
    password, _ = await invite_worker(redis_url, NAME, 60)
    url = as_user(redis_url, JOINING_USER + NAME, password)
    commands = [*REFUSED, ("GET", invitation_key(NAME)), ("PING",), ("DEL", "left:1")]
    assert await allowed_of(url, commands) == []


async def test_an_expired_invitation_is_refused_and_its_users_go_with_the_next_command(
    owner, redis_url
):
    password, _ = await invite_worker(redis_url, NAME, 0.02)
    joining = as_user(redis_url, JOINING_USER + NAME, password)

    async def is_over():
        return not owner.exists(invitation_key(NAME))

    await wait_for(is_over)
    with pytest.raises(AccessRefused, match="has expired"):
        await accept_invitation(joining, NAME)


async def test_the_users_of_an_unused_invitation_go_with_the_owners_next_command(owner, redis_url):
    await invite_worker(redis_url, NAME, 0.02)

    async def is_over():
        return not owner.exists(invitation_key(NAME))

    await wait_for(is_over)
    assert not await revoke_worker(redis_url, "other")
    assert owner.acl_users() == ["default"]


async def test_a_name_is_invited_once_until_it_is_revoked(owner, redis_url):
    await invite_worker(redis_url, NAME, 60)
    with pytest.raises(AccessRefused, match=f"workers revoke {NAME}"):
        await invite_worker(redis_url, NAME, 60)
    assert await revoke_worker(redis_url, NAME)
    assert owner.acl_users() == ["default"]
    await join(redis_url)


async def test_a_revoked_worker_loses_its_connections_and_cannot_come_back(owner, redis_url):
    worker_url = await join(redis_url)
    worker = Bus(worker_url, service="sdk_worker", instance=NAME, timings=QUICK)
    async with worker:
        await worker.get("left:1")
        assert await revoke_worker(redis_url, NAME)

        async def is_cut_off():
            return not worker.connected

        await wait_for(is_cut_off)
        with pytest.raises(BusUnavailable):
            await worker.get("left:1")
        assert not [each for each in owner.client_list() if each["user"] == WORKER_USER + NAME]
    with pytest.raises(AccessRefused, match="does not know this user"):
        await check_access(worker_url)


async def test_an_owner_without_rights_over_users_is_told_so(owner, redis_url):
    owner.acl_setuser("half", enabled=True, passwords=["+half"], keys=["*"], commands=["+info"])
    with pytest.raises(AccessRefused, match="may not change who has access"):
        await invite_worker(as_user(redis_url, "half", "half"), NAME, 60)


async def test_a_redis_without_an_acl_file_says_that_it_forgets_its_workers(owner, redis_url):
    _, is_saved = await invite_worker(redis_url, NAME, 60)
    assert is_saved is False
