"""A machine that joins a stack, by the commands that people type: a Redis with TLS, the worker as
its process, the real `claude`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import stat
import subprocess

import pytest
import redis

from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.join_token import read_join_token, write_join_token
from ccproxy.launcher.programs import find_script
from shared.bus import Timings
from shared.bus.channels import Turn, labelled_turns
from shared.runtime.errors import NoWorker, WorkerLost
from tests.support.sdk_stack import body
from tests.support.simulator_fixture import API_KEY
from tests.support.tls_redis import TlsRedis, authority

pytestmark = [pytest.mark.long, pytest.mark.claude, pytest.mark.timeout(180)]

NAME = "attic"
STOP_SECONDS = 60.0
PATIENT = Timings(no_worker=60)  # a process needs its time to start
ATTIC = labelled_turns([NAME])


@pytest.fixture(scope="module")
def tls_redis(tmp_path_factory):
    server = TlsRedis(tmp_path_factory.mktemp("tls"))
    server.start()
    yield server
    server.stop()


def end_at_once(process):
    """End a joined worker with its turns: the second signal does."""
    while process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)


class TwoMachines:
    """The owner's machine, whose settings name Redis, and another one that knows nothing of it."""

    def __init__(self, server, simulator_url, root):
        self.server = server
        self.home = root / "other"
        self.home.mkdir()
        self._plain = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("XDG_", "REDIS", "CLAUDE"))
        }
        self._owner = {"HOME": str(root), "REDIS__URL": server.url}
        self._other = {
            "HOME": str(self.home),
            "CLAUDE__BASE_URL": simulator_url,
            "CLAUDE__API_KEY": API_KEY,
            "CLAUDE__SDK_MESSAGE_MODE": "ignore",
            "CLAUDE__BUILTIN_PERMISSIONS": "false",  # there is no permission service to ask
            "SDK__POOL_SIZE": "0",
        }
        self._running = []

    def owner(self, *arguments, **environment):
        return self._run(arguments, self._owner | environment)

    def other(self, *arguments, given=None, **environment):
        return self._run(arguments, self._other | environment, given)

    def _run(self, arguments, environment, given=None):
        return subprocess.run(
            [*find_script("ccproxy"), *arguments],
            env=self._plain | environment,
            cwd=self.home,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def token(self, *options):
        """Return a new join token, with the authority of Redis' certificate."""
        made = self.owner(
            *("workers", "invite", "--name", NAME, "--address", self.server.address),
            *("--ca", str(self.server.ca_file), *options),
        )
        assert made.returncode == DONE, made.stderr
        return made.stdout

    def start(self, *arguments, given=""):
        """Start a worker in the foreground of the other machine."""
        started = subprocess.Popen(
            [*find_script("ccproxy"), *arguments],
            env=self._plain | self._other,
            cwd=self.home,
            stdin=subprocess.PIPE,
            text=True,
        )
        started.stdin.write(given)
        started.stdin.close()
        self._running.append(started)
        return started

    def end(self):
        for process in self._running:
            end_at_once(process)


@pytest.fixture
def machines(tls_redis, simulator_url, tmp_path):
    with redis.Redis.from_url(tls_redis.url) as client:
        client.flushall()
        house = TwoMachines(tls_redis, simulator_url, tmp_path)
        yield house
        house.end()
        for user in client.acl_users():
            if user != "default":
                client.acl_deluser(user)


async def reply_of(bus, text):
    async with bus.call(ATTIC, Turn("r1", body(text))) as call:
        return b"".join([reply async for reply in call])


async def revoked_within_a_turn(machines, bus):
    """Revoke the worker once its turn has begun; the call ends with an error."""
    async with bus.call(ATTIC, Turn("r3", body("[[scenario:slow-50x2000]]"))) as call:
        await anext(aiter(call))
        assert machines.owner("workers", "revoke", NAME).returncode == DONE
        async for _ in call:
            pass


async def test_a_machine_joins_runs_turns_finishes_them_and_is_revoked(machines, bus_factory):
    bus = await bus_factory(timings=PATIENT, url=machines.server.url)
    token = machines.token()
    worker = machines.start("worker", "join", "-", given=token)
    reply = await reply_of(bus, "[[say:secured]]")
    assert json.loads(reply.partition(b"event:")[0])["worker"] == NAME
    assert b"secured" in reply
    stored = machines.home / ".local/state/ccproxy/worker/access.json"
    assert stat.S_IMODE(stored.stat().st_mode) == 0o600

    # Another machine with a copy of the token gets nothing.
    thief = machines.home / "thief"
    copied = machines.other("worker", "join", "--no-run", "-", given=token, HOME=str(thief))
    assert (copied.returncode, "was used already" in copied.stderr) == (FAILED, True)
    assert not (thief / ".local/state/ccproxy/worker/access.json").exists()

    # SIGTERM in the middle of a turn: the turn is whole, and the worker ends.
    async with bus.call(ATTIC, Turn("r2", body("[[scenario:slow-50x20]]"))) as call:
        frames = b""
        async for each in call:
            if not frames:
                worker.send_signal(signal.SIGTERM)
            frames += each
    assert b"message_stop" in frames
    assert await asyncio.to_thread(worker.wait, STOP_SECONDS) == DONE

    # It comes back without a token, until its access is taken.
    worker = machines.start("worker", "run")
    assert b"again" in await reply_of(bus, "[[say:again]]")
    busy = machines.other("worker", "run")
    assert (busy.returncode, "runs already" in busy.stderr) == (FAILED, True)
    with pytest.raises(WorkerLost):
        await revoked_within_a_turn(machines, bus)
    with pytest.raises(NoWorker):
        await reply_of(await bus_factory(url=machines.server.url), "[[say:nobody]]")
    with redis.Redis.from_url(machines.server.url) as client:
        assert NAME not in str(client.client_list())
        # Written to the ACL file: a restart of Redis brings nobody back.
        client.acl_load()
        assert client.acl_users() == ["default"]

    end_at_once(worker)
    left = await asyncio.to_thread(machines.other, "worker", "leave")
    assert left.returncode == DONE, left.stderr
    assert not stored.exists()
    none = machines.other("worker", "run")
    assert (none.returncode, "has joined no stack" in none.stderr) == (FAILED, True)


def test_a_certificate_that_is_not_trusted_is_refused_and_the_invitation_stays(machines):
    def joined(token):
        done = machines.other("worker", "join", "--no-run", "-", given=token)
        return done.returncode, done.stderr

    # Without the authority, with another one, and with a host that is not the certificate's.
    other = machines.home / "other.pem"
    authority(machines.home, "other")
    for options, problem in (
        (("--address", machines.server.address), "certificate"),
        (("--address", machines.server.address, "--ca", str(other)), "certificate"),
        (
            (
                *("--address", f"rediss://127.0.0.1:{machines.server.port}"),
                *("--ca", str(machines.server.ca_file)),
            ),
            "127.0.0.1",
        ),
    ):
        made = machines.owner("workers", "invite", "--name", NAME, *options)
        code, said = joined(made.stdout)
        assert (code, "is not trusted" in said, problem in said) == (FAILED, True, True), said
        assert machines.owner("workers", "revoke", NAME).returncode == DONE
    token = machines.token()
    code, said = joined(token)
    assert (code, f"Joined as the worker {NAME}" in said) == (DONE, True), said


def test_what_cannot_be_joined_or_invited_is_told_in_a_sentence(machines):
    token = read_join_token(machines.token())
    expired = write_join_token(token.model_copy(update={"expires_at": 1.0}))
    done = machines.other("worker", "join", "-", given=expired)
    assert (done.returncode, "has expired" in done.stderr) == (FAILED, True)
    wrong = machines.other("worker", "join", "-", given="words")
    assert (wrong.returncode, "This is no join token" in wrong.stderr) == (FAILED, True)
    lost = machines.home / "lost"
    unread = machines.other("worker", "join", "--token-file", str(lost))
    assert "cannot be read: No such file" in unread.stderr
    gone = machines.owner("workers", "invite", REDIS__URL="rediss://:pw@localhost:1")
    assert "Traceback" not in gone.stderr
    assert gone.returncode == FAILED
    away = machines.owner(
        *("workers", "invite", "--address", machines.server.address),
        REDIS__URL="rediss://:pw@localhost:1",
    )
    assert "Redis at localhost:1 is not reachable" in away.stderr
    unknown = machines.owner("workers", "revoke", "nobody")
    assert (unknown.returncode, "No worker 'nobody' was invited" in unknown.stderr) == (
        FAILED,
        True,
    )
