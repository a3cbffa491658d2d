"""One line per fact, in the same shape whoever says it. In a process of its own: logging is
configured once.
"""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging
from shared.runtime.log import configure_log, get_log
configure_log(level={level!r}, style={style!r}, service="gateway", instance="g-1")
get_log().debug("too_quiet")
get_log().info("request_done", status=200, path="/\\x1b]0;x\\x07")
logging.getLogger("library").warning("said by a library")
try:
    1 / 0
except ZeroDivisionError:
    get_log().exception("went_wrong")
"""


def lines(style: str, level: str = "INFO") -> list[str]:
    program = PROGRAM.format(style=style, level=level)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not done.stdout
    return done.stderr.splitlines()


def test_away_from_a_terminal_each_line_is_json_and_says_who_speaks() -> None:
    said = [json.loads(line) for line in lines("auto")]
    assert [fact["event"] for fact in said] == ["request_done", "said by a library", "went_wrong"]
    assert all((fact["service"], fact["instance"]) == ("gateway", "g-1") for fact in said)
    assert said[0]["status"] == 200
    assert "ZeroDivisionError" in said[2]["exception"]


def test_plain_lines_have_no_colours() -> None:
    said = "\n".join(lines("plain"))
    assert "request_done" in said
    assert "\x1b[" not in said


def test_the_level_is_the_least_that_is_said() -> None:
    assert any("too_quiet" in line for line in lines("json", "DEBUG"))
    assert not any("request_done" in line for line in lines("json", "WARNING"))


def test_no_style_passes_a_command_to_a_terminal() -> None:
    for style in ("plain", "rich", "json"):
        said = "\n".join(lines(style))
        assert r"\u001b]0;x\u0007" in said.replace("\\\\", "\\")
        assert "\x1b]" not in said
