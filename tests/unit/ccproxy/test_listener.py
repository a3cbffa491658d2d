from __future__ import annotations

import xmlrpc.client
from types import SimpleNamespace

import pytest

from ccproxy.listener import SHORT_LIFE_SECONDS, SHORT_LIVES, Watch, report_exit, service_of


class Control:
    """supervisord's verbs, remembered; `refuses` makes them fault like a program that is in that state already."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.refuses = False
        self.states: dict[str, str] = {}
        self.supervisor = SimpleNamespace(
            stopProcess=self.verb("stop"), startProcess=self.verb("start"), getAllProcessInfo=self.list_processes
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
def seen():
    """A watch, what it reported, and why it ended the stack."""
    seen = SimpleNamespace(reported=[], ended=[], control=Control(), now=0.0)
    watch = Watch(
        report=lambda process, pid: seen.reported.append((process, pid)),
        end_stack=seen.ended.append,
        control=seen.control,
    )

    def happen(event, process, **facts):
        group = "gateway" if process.startswith("gateway") else process
        seen.control.states[process] = event.removeprefix("PROCESS_STATE_")
        watch.handle(event, {"groupname": group, "processname": process} | facts, seen.now)

    def live(process, seconds):
        happen("PROCESS_STATE_RUNNING", process)
        seen.now += seconds
        happen("PROCESS_STATE_EXITED", process, pid="17")

    seen.happen, seen.live, seen.minute = happen, live, lambda: watch.handle("TICK_60", {"when": "60"}, seen.now)
    return seen


@pytest.mark.parametrize(
    ("process", "service"),
    [("gateway_00", "gateway"), ("sdk_worker_12", "sdk_worker"), ("permission_service", "permission_service")],
)
def test_a_process_belongs_to_a_service(process, service):
    assert service_of(process) == service


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


def test_a_death_is_not_told_to_the_redis_that_died():
    report_exit("unix:///nowhere/redis.sock", "redis", 17)


def test_a_lost_redis_does_not_stop_the_listener():
    report_exit("unix:///nowhere/redis.sock", "analytics", 17)
