from __future__ import annotations

import json
import os
import re
import threading
import time

import pytest

from ccproxy.cli.console import LogOutput, readable, say, shape_of_log, supervisord_as_json


def plain(line: bytes) -> str:
    return re.sub(r"\033\[\d+m", "", readable(line, "http://127.0.0.1:8000").decode())


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    """The reader's own time is UTC."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_json_line_becomes_a_sentence():
    facts = {
        "timestamp": "2026-01-01T12:34:56.789Z",
        "level": "warning",
        "event": "slow",
        "service": "gateway",
    }
    line = json.dumps(facts | {"instance": "gateway_00", "path": "/api", "ms": 12}).encode() + b"\n"
    assert plain(line) == "12:34:56 gateway_00         slow path=/api ms=12\n"


def test_a_traceback_keeps_its_lines():
    facts = {
        "timestamp": "2026-01-01T12:34:56Z",
        "level": "error",
        "event": "broke",
        "exception": "Traceback:\n  here",
    }
    assert plain(json.dumps(facts).encode()).endswith("broke\nTraceback:\n  here\n")


def test_supervisords_own_lines_are_readable_too():
    line = b"2026-11-22 12:05:00,123 WARN exited: analytics (terminated by SIGKILL; not expected)\n"
    assert (
        plain(line)
        == "12:05:00 supervisord        exited: analytics (terminated by SIGKILL; not expected)\n"
    )


TOLD = {"timestamp": "2026-01-01T12:34:56.789Z", "level": "info", "instance": "gateway_00"}


def test_a_request_and_a_waiting_permission_request_have_lines_of_their_own():
    request = {"event": "request", "path": "/api/v1/messages", "status": 200, "duration_ms": 5}
    assert plain(json.dumps(TOLD | request).encode()).startswith("12:34:56 200 ")
    asked = {"event": "permission_asked", "tool": "Bash", "caller": "aider"}
    assert plain(json.dumps(TOLD | asked).encode()) == (
        "12:34:56 ask aider wants to use Bash. Answer with `ccproxy permission-handler`\n"
        "             or at http://127.0.0.1:8000/permissions/ui\n"
    )


def test_a_request_with_strange_facts_is_shown_as_any_event():
    strange = TOLD | {"event": "request", "status": "many"}
    assert plain(json.dumps(strange).encode()).endswith("request status=many\n")


@pytest.mark.parametrize("shape", [readable, supervisord_as_json])
@pytest.mark.parametrize(
    "said",
    [
        b"received SIGTERM indicating exit request",
        b"stopped: sdk_worker_00 (exit status 0)",
        b"stopped: listener (terminated by SIGTERM)",
    ],
)
def test_an_orderly_stop_is_no_news(shape, said):
    assert shape(b"2026-11-22 12:05:00,123 WARN " + said + b"\n") == b""


def test_a_stop_by_force_is_news():
    line = b"2026-11-22 12:05:00,123 WARN stopped: gateway_00 (terminated by SIGKILL)\n"
    assert "terminated by SIGKILL" in plain(line)


def test_supervisords_own_line_is_json_in_a_pipe():
    line = b"2026-11-22 12:05:00,123 WARN exited: analytics (exit status 1)\n"
    assert json.loads(supervisord_as_json(line)) == {
        "timestamp": "2026-11-22T12:05:00Z",
        "level": "warning",
        "event": "exited: analytics (exit status 1)",
        "service": "supervisord",
        "instance": "supervisord",
    }
    assert supervisord_as_json(b"{}\n") == b"{}\n"


def test_the_log_is_shaped_for_the_place_it_goes_to():
    reading, writing = os.pipe()
    terminal, end = os.openpty()
    line = b"2026-11-22 12:05:00,123 WARN odd\n"
    try:
        assert shape_of_log(writing, "auto", "")(line).startswith(b"{")
        assert shape_of_log(writing, "plain", "")(line) == line
        assert b"supervisord" in shape_of_log(end, "auto", "")(line)
        assert shape_of_log(end, "json", "")(line).startswith(b"{")
    finally:
        for fd in (reading, writing, terminal, end):
            os.close(fd)


def test_any_other_line_is_left_alone():
    for line in (
        b"plain words\n",
        b"{not json\n",
        b"[1, 2]\n",
        b'{"event": "without a time"}\n',
        b"17\n",
    ):
        assert readable(line) == line


HOSTILE = "\x1b]52;c;ZXZpbA==\x07\x1b[2J\u202e\n12:00:00 forged"
ESCAPED = r"\u001b]52;c;ZXZpbA==\u0007\u001b[2J\u202e\n12:00:00 forged"


def test_no_fact_of_a_log_line_commands_the_terminal_or_forges_a_line():
    facts = {
        "timestamp": "2026-01-01T12:34:56Z",
        "level": "info",
        "event": HOSTILE,
        "instance": HOSTILE,
    }
    shown = plain(
        json.dumps(facts | {"tool": HOSTILE, HOSTILE: 1, "nested": {"a": HOSTILE}}).encode()
    )
    assert shown.count("\n") == 1
    assert shown.count(ESCAPED) == 4
    assert "\x1b" not in shown
    assert "\x07" not in shown


def test_an_exception_keeps_its_lines_and_nothing_else_that_a_terminal_obeys():
    facts = {
        "timestamp": "2026-01-01T12:34:56Z",
        "level": "error",
        "event": "broke",
        "exception": HOSTILE,
    }
    assert plain(json.dumps(facts).encode()).endswith(ESCAPED.replace(r"\n", "\n") + "\n")


def test_any_other_line_keeps_its_colours_only():
    assert (
        readable(b"\x1b[31mred\x1b[0m \x1b]0;title\x07\n")
        == b"\x1b[31mred\x1b[0m \\u001b]0;title\\u0007\n"
    )
    assert readable(b"\xff\xfe\n").decode() == "\ufffd\ufffd\n"


def test_a_sentence_is_escaped(capsys):
    say("The gateway says \x1b[2J.")
    assert capsys.readouterr().err == "The gateway says \\u001b[2J.\n"


def test_a_program_gets_the_bytes_as_they_are():
    line = b'{"timestamp": "2026-01-01T12:34:56Z", "level": "info", "event": "started"}\n'
    reading, writing = os.pipe()
    output = LogOutput(writing, bytes)
    output.feed(line)
    output.close()
    os.close(writing)
    with os.fdopen(reading, "rb") as sink:
        assert sink.read() == line


def test_a_reader_that_stopped_reading_costs_lines_and_not_time():
    reading, writing = os.pipe()
    output = LogOutput(writing, bytes)
    line = b"x" * 999 + b"\n"
    fed = 12_000  # more than the pipe and the queue hold
    for _ in range(fed):
        output.feed(line)
    got: list[bytes] = []
    with os.fdopen(reading, "rb") as sink:
        drain = threading.Thread(target=lambda: got.extend(sink))
        drain.start()
        output.close()
        os.close(writing)
        drain.join()
    lost = sum(int(re.search(rb"(\d+) log lines", line)[1]) for line in got if b"dropped" in line)
    assert lost + got.count(line) == fed


def test_a_reader_that_left_does_not_end_the_stack():
    reading, writing = os.pipe()
    os.close(reading)
    output = LogOutput(writing, bytes)
    output.feed(b"nobody reads this\n")
    output.close()
    os.close(writing)
