"""The search is alive: its targets take their seeds, and it finds what is broken."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.fuzz.changing import Changer, change_some_bytes
from tests.fuzz.executing import Finds, execute
from tests.fuzz.regressions import REGRESSIONS
from tests.fuzz.search import COUNTED, DONE, Result
from tests.fuzz.targets.event_streams import PLAIN
from tests.fuzz.targets.every import TARGETS
from tests.fuzz.targets.target import Target, hold, seed

EVENT = {"type": "delta", "index": 0, "delta": {"text": "hello"}}


def loses_odd_types(data: bytes) -> None:
    """Fail for a document whose `index` is no number."""
    try:
        document = json.loads(data[2:])
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict) and document.get("type") == "delta":
        document.get("index", 0) + 1


def breaks_a_law(data: bytes) -> None:
    hold(b"\r" not in data, "no line ends in CR")


def never_ends(_: bytes) -> None:
    while True:
        pass


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds_and_what_once_broke_it(name: str) -> None:
    target = TARGETS[name]
    inputs = [*target.seeds(), *REGRESSIONS.get(name, [])]
    assert inputs
    assert [find.words for each in inputs if (find := execute(target, each))] == []


def test_a_search_finds_a_seeded_defect_and_keeps_its_smallest_input(tmp_path: Path) -> None:
    target = Target("leaky", "", loses_odd_types, lambda: [seed(0, EVENT)])
    changer = Changer(target, change_some_bytes)
    finds = Finds(tmp_path, target)
    for number in range(300):
        data = changer.change(target.seeds()[0], random.Random(number))
        if find := execute(target, data):
            assert find.key.startswith("leaky TypeError tests/unit/fuzz/test_search.py:")
            finds.keep(find, data)
    assert len(finds) == 1
    (kept,) = tmp_path.glob("*.input")
    assert execute(target, kept.read_bytes()) is not None
    assert "loses_odd_types" in kept.with_suffix(".txt").read_text()


def test_a_broken_law_and_an_input_without_an_end_are_finds() -> None:
    law = execute(Target("law", "", breaks_a_law, list), b"00\r")
    assert law is not None
    assert "no line ends in CR" in law.key
    endless = execute(Target("endless", "", never_ends, list), b"00", cpu_seconds=0.05)
    assert endless is not None
    assert "TooSlow" in endless.key


@pytest.mark.parametrize("form", ["json", "stream", "lines"])
def test_a_change_of_an_input_is_the_same_each_time_and_often_readable(form: str) -> None:
    body = {"json": json.dumps(EVENT).encode(), "stream": PLAIN * 2, "lines": b'{"a":1}\n{"b":2}'}
    target = Target("any", "", breaks_a_law, lambda: [seed(0, body[form])], form)  # type: ignore[arg-type]
    changer = Changer(target, change_some_bytes)
    changed = [changer.change(target.seeds()[0], random.Random(number)) for number in range(50)]
    again = [changer.change(target.seeds()[0], random.Random(number)) for number in range(50)]
    assert changed == again
    assert len(set(changed)) > 30


def test_the_figures_of_a_search_are_read_from_its_log() -> None:
    log = "#47520\tREDUCE cov: 74 ft: 451 corp: 101/145Kb lim: 16384\nDone 47840 runs in 421 second(s)\n"
    assert COUNTED.findall(log) == [("47520", "74", "451", "101")]
    assert DONE.findall(log) == [("47840", "421")]
    line = Result("sse", "atheris", 60.0, 47840, 101, 74, 0).line()
    assert line == (
        "sse: 47,840 executions in 1.0 minutes (797/s), corpus 101, coverage 74, 0 finds"
    )
