from __future__ import annotations

import json
import os
import re
import threading

from ccproxy.cli.console import LogOutput, readable, say


def plain(line: bytes) -> str:
    return re.sub(r"\033\[\d+m", "", readable(line).decode())


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
    output = LogOutput(writing, for_a_person=False)
    output.feed(line)
    output.close()
    os.close(writing)
    with os.fdopen(reading, "rb") as sink:
        assert sink.read() == line


def test_a_reader_that_stopped_reading_costs_lines_and_not_time():
    reading, writing = os.pipe()
    output = LogOutput(writing, for_a_person=False)
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
    output = LogOutput(writing, for_a_person=False)
    output.feed(b"nobody reads this\n")
    output.close()
    os.close(writing)
