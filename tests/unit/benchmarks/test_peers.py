"""The comparison with other programs: medians, tables, reasons and requests."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import peers, peers_packages
from benchmarks.peers_packages import NotInstalled, Package, install, must, reason_in
from benchmarks.peers_page import (
    added,
    bodies_table,
    charts,
    errors_of,
    errors_table,
    lines,
    median_of,
    paced_table,
    start_table,
    text_of,
    work_table,
)
from benchmarks.peers_programs import PEERS
from benchmarks.peers_rounds import CELLS, Cell


def answers(p50, cpu=100.0, errors=0, **more):
    return {
        "done": 10,
        "errors": errors,
        "first_error": "HTTP/1.1 500 Broken\r\ncontent-length: 3" if errors else "",
        "latency_p50": p50,
        "latency_p99": p50 * 2,
        "requests/cpu-s": cpu,
        "cpu-ms/answer": 1000 / cpu,
        **more,
    }


def a_round(p50, cpu=100.0, errors=0):
    cell = answers(p50, cpu, errors)
    paced = {**cell, "first_token_p50": 3.0, "cpu-us/token": 40.0}
    cells = {each.name: paced if each.kind == "paced" else cell for each in CELLS}
    return {"start": 1.0, "start_cpu": 0.5, "idle": 50.0, "after": 60.0, "cells": cells}


FOUND = {
    "direct": [a_round(1.0), a_round(2.0), a_round(9.0)],
    "fast": [a_round(1.5, 300), a_round(2.5, 500), a_round(9.7, 400)],
    "broken": [a_round(4.0, errors=2), {"failed": "It gave no answer."}],
}


def test_a_figure_is_the_median_of_its_rounds():
    assert median_of(FOUND["fast"], "whole 64", "requests/cpu-s") == 400
    assert median_of(FOUND["fast"], "whole 64", "tokens") is None
    assert median_of(FOUND["broken"], "whole 64", "latency_p50") == 4


def test_an_added_time_is_the_median_of_the_differences_within_each_round():
    assert added(FOUND, "fast", "whole 1", "latency_p50") == 0.5
    assert added(FOUND, "broken", "whole 1", "latency_p50") == 3


def test_the_errors_of_all_rounds_are_added_and_a_load_left_out_is_said():
    assert errors_of(FOUND["fast"], "whole 64") == "0"
    assert errors_of(FOUND["broken"], "whole 64", "burst 16") == "4"
    assert errors_of([{"cells": {"paced 64": {"left out": "why"}}}], "paced 64") == "not run"


def test_the_table_of_work_has_each_program_without_the_direct_load():
    table = work_table(FOUND, "whole 64", "burst 16", "whole 1")
    assert table.rows == [
        ["fast", "0.5", "1", "400", "2.5", "0"],
        ["broken", "3", "6", "100", "10", "6"],
    ]
    assert len(table.head) == 6


def test_the_table_of_paced_streams_has_a_row_for_each_number_and_program():
    table = paced_table(FOUND, {1: "paced 1", 1000: "paced 1000"})
    assert [row[:2] for row in table.rows] == [
        [name, streams] for streams in ("1", "1,000") for name in FOUND
    ]
    assert table.rows[1] == ["fast", "1", "10", "3", "", "", "", "40", "0"]


def test_the_errors_of_a_program_are_shown_with_the_first_ones_status():
    rows = errors_table(FOUND).rows
    assert rows[0] == ["broken", "whole 1", "2", "10", "`HTTP/1.1 500 Broken`"]
    assert rows[-1] == ["broken", "start", "", "", "`It gave no answer.`"]


def test_every_row_is_as_wide_as_its_head():
    section = peers.section(FOUND, {"seconds": {"warm": [0.2]}, "failed": {"x": "no"}}, {})
    for _, table in section.tables:
        assert {len(row) for row in table.rows} <= {len(table.head)}
    assert len(bodies_table(FOUND).rows) == 3
    assert len(start_table(FOUND).rows) == 2


def test_the_charts_have_every_program_that_gave_a_figure():
    for alt, svg in charts(FOUND):
        assert "fast" in svg, alt


def test_a_line_ends_where_a_program_finished_less_than_half_of_its_streams():
    _, svg = lines({"slow": [a_round(1.0)]}, "CPU", "µs", "cpu-us/token")
    assert "slow: 40 at 1" in svg
    assert "at 64" not in svg  # of which ten came


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (0.0123, "0.0123"), (12.34, "12.3"), (43210.9, "43,211")]
)
def test_a_figure_has_three_digits_or_all_before_the_point(value, text):
    assert text_of(value) == text


def test_the_section_names_what_each_program_is_set_to_and_what_is_left_out():
    text = peers.section(FOUND | {"nginx": []}, {"seconds": {}, "failed": {}}, {"x": "gone"}).text
    assert "**nginx**: one worker" in text
    assert "**x** was not installed: gone." in text
    assert "CLIProxyAPI" in text


def test_a_request_of_each_format_names_the_model_as_the_program_does():
    for peer in PEERS:
        for cell in CELLS:
            if cell.format in peer.paths:
                body = json.loads(cell.body(peer.model.format("bench-whole")))
                assert body["model"].endswith("bench-whole")
                assert body["stream"] is (cell.kind != "whole")


def test_the_text_of_a_long_body_is_left_to_the_load():
    assert '"content": "FILLER"' in Cell("x", "messages", "whole", 1, 1, megabytes=1).body("m")


def test_a_reason_is_the_telling_line_without_addresses():
    output = """npm error code E404
npm error 404 Not Found - GET https://host.example/thing
npm error 404  'thing@1' could not be found or you do not have permission
"""
    assert "could not be found" in reason_in(output)
    assert reason_in("npm error notarget No matching version found for a@1.\n").startswith("No mat")
    assert "://" not in reason_in("ERROR: see https://host.example/x\n")
    assert reason_in("") == "the installer gave no reason"


def test_a_step_that_fails_says_why():
    with pytest.raises(NotInstalled, match="not be found"):
        must([sys.executable, "-c", "raise SystemExit('x could not be found')"])


def test_an_installed_package_is_not_installed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    package = Package("a", "python", "@an/a", "1.2")
    assert package.folder() == tmp_path / "ccproxy-bench/an-a-1-2"
    package.folder().mkdir(parents=True)
    (package.folder() / peers_packages.STAMP).touch()
    assert install(package) == package.folder()
