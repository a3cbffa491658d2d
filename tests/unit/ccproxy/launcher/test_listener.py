from __future__ import annotations

import os
import xmlrpc.client
from types import SimpleNamespace

import pytest

from ccproxy.launcher.listener import (
    SHORT_LIFE_SECONDS,
    SHORT_LIVES,
    DeathReports,
    HeartbeatWatch,
    service_of,
)
from ccproxy.launcher.redis_data import RedisData


class Control:
    """supervisord's verbs, remembered; `refuses` makes them fault like a program that is in that
    state already.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.refuses = False
        self.states: dict[str, str] = {}
        self.supervisor = SimpleNamespace(
            stopProcess=self.verb("stop"),
            startProcess=self.verb("start"),
            getAllProcessInfo=self.list_processes,
        )

    def list_processes(self):
        return [{"name": name, "statename": state} for name, state in self.states.items()]

    def verb(self, name):
        def ask(program, wait):
            self.asked.append((name, program))
            if self.refuses:
                raise xmlrpc.client.Fault(70, "NOT_RUNNING")

        return ask


@pytest.fixture
def data(tmp_path):
    """The data of Redis: one file; `redis.log` beside it says nothing yet."""
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis/file.aof").write_text("noise")
    (tmp_path / "redis.log").write_text("")
    return RedisData(tmp_path / "redis", tmp_path / "redis.log", clock=lambda: 0.0)


@pytest.fixture
def seen(data):
    """A watch, what it reported, and why it ended the stack."""
    seen = SimpleNamespace(reported=[], ended=[], control=Control(), now=0.0)
    watch = HeartbeatWatch(
        report=lambda process, pid: seen.reported.append((process, pid)),
        end_stack=seen.ended.append,
        control=seen.control,
        redis_data=data,
    )

    def happen(event, process, **facts):
        group = "gateway" if process.startswith("gateway") else process
        seen.control.states[process] = event.removeprefix("PROCESS_STATE_")
        watch.handle(event, {"groupname": group, "processname": process} | facts, seen.now)

    def live(process, seconds):
        happen("PROCESS_STATE_RUNNING", process)
        seen.now += seconds
        happen("PROCESS_STATE_EXITED", process, pid="17")

    seen.happen, seen.live, seen.minute = (
        happen,
        live,
        lambda: watch.handle("TICK_60", {"when": "60"}, seen.now),
    )
    return seen


@pytest.mark.parametrize(
    ("process", "service"),
    [
        ("gateway_00", "gateway"),
        ("sdk_worker_12", "sdk_worker"),
        ("permission_service", "permission_service"),
    ],
)
def test_a_process_belongs_to_a_service(process, service):
    assert service_of(process) == service


def contents(tmp_path):
    """The directories of Redis' data, each with its files."""
    return {
        found.name: [file.name for file in found.iterdir()]
        for found in tmp_path.iterdir()
        if found.is_dir()
    }


def test_a_redis_that_cannot_start_is_started_without_its_data_which_is_kept(seen, tmp_path):
    seen.happen("PROCESS_STATE_FATAL", "redis")
    assert contents(tmp_path) == {"redis": [], "redis.unreadable-19700101T000000Z": ["file.aof"]}
    assert seen.control.asked == [("stop", "redis:redis"), ("start", "redis:redis")]
    assert not seen.ended


def test_data_that_was_not_the_reason_is_put_back_and_redis_tried_again_later(seen, tmp_path):
    seen.happen("PROCESS_STATE_FATAL", "redis")
    (tmp_path / "redis/new.aof").touch()
    seen.happen("PROCESS_STATE_FATAL", "redis")
    assert contents(tmp_path) == {"redis": ["file.aof"]}
    assert not seen.ended
    seen.control.asked.clear()
    seen.minute()
    assert seen.control.asked == [("start", "redis:redis")]


def test_data_stays_set_aside_once_redis_has_run_without_it(seen, tmp_path):
    seen.happen("PROCESS_STATE_FATAL", "redis")
    seen.live("redis", SHORT_LIFE_SECONDS + 1)
    (tmp_path / "redis/new.aof").touch()
    (tmp_path / "redis.unreadable-19700101T000000Z").rename(tmp_path / "redis.first")
    seen.happen("PROCESS_STATE_FATAL", "redis")
    assert contents(tmp_path)["redis.first"] == ["file.aof"]
    assert contents(tmp_path)["redis.unreadable-19700101T000000Z"] == ["new.aof"]


@pytest.mark.parametrize(
    ("words", "directories"), [("", 1), ("# Bad file format reading the append only file x.aof", 2)]
)
def test_a_redis_that_ran_and_died_keeps_its_data_unless_its_log_blames_the_file(
    seen, tmp_path, words, directories
):
    (tmp_path / "redis.log").write_text(f"an old line\n{words}\n")
    for _ in range(SHORT_LIVES):
        seen.live("redis", 2)
    assert len(contents(tmp_path)) == directories
    assert not seen.ended


def test_an_empty_redis_that_cannot_start_rests(seen, tmp_path):
    (tmp_path / "redis/file.aof").unlink()
    seen.happen("PROCESS_STATE_FATAL", "redis")
    assert contents(tmp_path) == {"redis": []}
    assert not seen.ended
    seen.minute()
    assert seen.control.asked[-1] == ("start", "redis:redis")


def test_every_death_is_reported(seen):
    seen.happen("PROCESS_STATE_EXITED", "sdk_worker_00", pid="17")
    seen.happen("PROCESS_STATE_BACKOFF", "analytics", tries="1")
    assert seen.reported == [("sdk_worker_00", 17), ("analytics", None)]
    assert not seen.ended


def test_a_critical_program_that_does_not_start_ends_the_stack(seen):
    seen.happen("PROCESS_STATE_FATAL", "gateway_00")
    assert seen.ended == ["gateway_00 did not start."]


def test_a_critical_program_that_keeps_dying_soon_ends_the_stack(seen):
    for _ in range(SHORT_LIVES - 1):
        seen.live("gateway_00", 1)
    assert not seen.ended
    seen.live("gateway_00", 1)
    assert len(seen.ended) == 1


def test_a_gateway_that_keeps_dying_rests_while_another_one_serves(seen):
    seen.happen("PROCESS_STATE_RUNNING", "gateway_01")
    for _ in range(SHORT_LIVES):
        seen.live("gateway_00", 1)
    assert not seen.ended
    assert seen.control.asked == [("stop", "gateway:gateway_00")]
    seen.minute()
    assert seen.control.asked[-1] == ("start", "gateway:gateway_00")


@pytest.mark.parametrize("state", ["STARTING", "RUNNING", "BACKOFF"])
def test_a_listener_started_late_ends_no_stack_in_which_another_gateway_lives(seen, state):
    """supervisord knows of the other gateway; no event has told this listener."""
    seen.control.states["gateway_01"] = state
    seen.happen("PROCESS_STATE_FATAL", "gateway_00")
    assert not seen.ended
    assert seen.control.asked == [("stop", "gateway:gateway_00")]


def test_the_stack_ends_when_the_last_gateway_keeps_dying(seen):
    seen.happen("PROCESS_STATE_RUNNING", "gateway_01")
    seen.happen("PROCESS_STATE_FATAL", "gateway_00")
    seen.now += SHORT_LIFE_SECONDS
    seen.happen("PROCESS_STATE_EXITED", "gateway_01", pid="18")
    seen.happen("PROCESS_STATE_FATAL", "gateway_01")
    assert seen.ended == ["gateway_01 did not start."]


def test_dying_now_and_then_is_no_crash_loop(seen):
    for _ in range(SHORT_LIVES):
        seen.live("gateway_00", 1)
        seen.live("gateway_00", SHORT_LIFE_SECONDS)
    assert not seen.ended


def test_two_programs_do_not_share_a_count(seen):
    for _ in range(SHORT_LIVES - 1):
        seen.live("gateway_00", 1)
        seen.live("gateway_01", 1)
    assert not seen.ended


def test_another_program_rests_for_a_minute_and_is_tried_once_more(seen):
    seen.happen("PROCESS_STATE_FATAL", "analytics")
    seen.minute()
    seen.minute()
    assert seen.control.asked == [("stop", "analytics:analytics"), ("start", "analytics:analytics")]
    assert not seen.ended


def test_a_refusal_of_supervisord_is_no_reason_to_die(seen):
    seen.control.refuses = True
    seen.happen("PROCESS_STATE_FATAL", "analytics")
    seen.minute()
    assert len(seen.control.asked) == 2


WAIT_SECONDS = 20


def reports(folder, script):
    """Return reports for which a script stands in."""
    program = folder / "report"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return DeathReports([str(program)])


def test_a_death_is_reported_with_service_process_and_pid(tmp_path):
    sent = reports(tmp_path, f'echo "$@" > {tmp_path}/said')
    sent.send("sdk_worker_01", 17)
    sent.wait(WAIT_SECONDS)
    assert (tmp_path / "said").read_text() == "sdk_worker sdk_worker_01 17\n"


def test_a_report_neither_reads_nor_writes_the_protocol_of_supervisord(tmp_path, capfd):
    sent = reports(tmp_path, "cat; echo RESULT 4")
    sent.send("analytics", None)
    sent.wait(WAIT_SECONDS)
    assert capfd.readouterr() == ("", "RESULT 4\n")


def test_a_report_that_takes_long_keeps_no_event_waiting(tmp_path):
    processes = ("analytics", "gateway_00")
    sent = reports(tmp_path, f"read line < {tmp_path}/$2")
    for process in processes:
        os.mkfifo(tmp_path / process)
        sent.send(process, 17)
    for process in processes:
        (tmp_path / process).write_text("go\n")
    sent.wait(WAIT_SECONDS)


def test_a_death_of_redis_is_not_reported_to_redis(tmp_path):
    sent = reports(tmp_path, f"touch {tmp_path}/said")
    sent.send("redis", 17)
    sent.wait(WAIT_SECONDS)
    assert not (tmp_path / "said").exists()


def test_a_report_that_cannot_be_made_does_not_stop_the_listener(tmp_path, caplog):
    DeathReports([str(tmp_path / "no-such-program")]).send("analytics", 17)
    assert "death_not_reported" in caplog.text
