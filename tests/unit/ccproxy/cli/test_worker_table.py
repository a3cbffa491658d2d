from __future__ import annotations

from ccproxy.cli.worker_table import COLUMNS, queue_lines, worker_cells, worker_rows

NOW = 1_000.0
BEATING = {
    "instance": "w1",
    "pid": 7,
    "started_at": 900.0,
    "beat_at": 999.0,
    "host": "attic",
    "labels": ["gpu", "home"],
    "driver": "claude-agent-sdk",
    "idle": 2,
    "busy": 0,
    "waiting": 0,
    "version": "2.1.330",
    "ccproxy_version": "1.2.3",
    "draining": False,
    "problem": None,
}
STARTED = {"name": "w1", "statename": "RUNNING", "pid": 7, "start": 900, "now": 1000}


def test_a_worker_that_beats_is_described_by_its_heartbeat() -> None:
    [row] = worker_rows([], [BEATING], NOW)
    assert dict(zip(COLUMNS, worker_cells(row), strict=True)) == {
        "HOST": "attic",
        "WORKER": "w1",
        "STATE": "running",
        "LABELS": "gpu, home",
        "WARM": "2",
        "BUSY": "0",
        "WAITING": "0",
        "VERSION": "1.2.3",
        "CLAUDE": "2.1.330",
        "HEARTBEAT": "1 s ago",
    }
    assert (row["pid"], row["running_seconds"]) == (7, 100)


def test_a_worker_that_both_know_is_listed_once() -> None:
    assert len(worker_rows([STARTED], [BEATING], NOW)) == 1


def test_a_worker_that_does_not_beat_is_listed_as_supervisord_knows_it() -> None:
    failing = STARTED | {"name": "w0", "statename": "BACKOFF", "pid": 0}
    first, second = worker_rows([failing, STARTED], [BEATING], NOW)
    assert (first["name"], first["state"], first["pid"]) == ("w0", "backoff", None)
    assert worker_cells(first)[3:] == ["-"] * 7
    assert second["name"] == "w1"


def test_workers_are_listed_by_machine_and_by_name() -> None:
    others = [BEATING | {"instance": "w0", "host": "cellar"}, BEATING | {"instance": "w2"}]
    rows = worker_rows([], [*others, BEATING], NOW)
    assert [(row["host"], row["name"]) for row in rows] == [
        ("attic", "w1"),
        ("attic", "w2"),
        ("cellar", "w0"),
    ]


def test_the_state_of_a_worker_tells_when_it_begins_and_when_it_finishes() -> None:
    starting = {"instance": "w1", "pid": 7, "started_at": 999.0}
    finishing = BEATING | {"instance": "w2", "draining": True}
    rows = worker_rows([], [starting, finishing], NOW)
    assert [row["state"] for row in rows] == ["starting", "draining"]


def test_turns_that_wait_are_counted_for_each_queue() -> None:
    chosen = [{"labels": ["gpu", "home"], "waiting": 2}]
    status = {"line": {"waiting": 1, "max": 64}, "chosen": chosen}
    assert list(queue_lines(status)) == ["1 waiting for any worker.", "2 waiting for gpu, home."]
    assert list(queue_lines({})) == []
