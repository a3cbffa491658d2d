from __future__ import annotations

import json

from ccproxy.output import show_json, show_table


def test_into_a_pipe_a_row_is_a_line_of_tab_separated_cells(capsys):
    show_table(("A", "B"), [("one", "two\nlines"), ("three", "fail")])
    assert capsys.readouterr().out == "one\ttwo lines\nthree\twrong\n"


def test_on_a_terminal_it_is_a_table_and_markup_in_a_cell_stays_text(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_table(("NAME", "SAYS"), [("x", "[red]not colour"), ("y", "pass")])
    shown = capsys.readouterr().out
    assert "NAME" in shown
    assert "[red]not colour" in shown
    assert "ok" in shown


def test_json_is_for_programs(capsys):
    show_json({"a": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, None]}
