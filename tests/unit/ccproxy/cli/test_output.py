from __future__ import annotations

import json

import pytest

from ccproxy.cli.output import plain, show_json, show_line, show_table


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


def test_rows_that_say_the_same_are_one_row_on_a_terminal_and_apart_in_a_pipe(capsys, monkeypatch):
    rows = [("/api", "fail", "no login"), ("/sdk", "fail", "no login"), ("/codex", "pass", "plus")]
    show_table(("ROUTE", "", "SAYS"), rows, joined=True)
    assert capsys.readouterr().out.splitlines()[1] == "/sdk\twrong\tno login"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_table(("ROUTE", "", "SAYS"), rows, joined=True)
    _, first, second = capsys.readouterr().out.splitlines()
    assert "/api, /sdk" in first
    assert "no login" in first
    assert "/codex" in second


@pytest.mark.parametrize("terminal", [True, False])
def test_a_cell_commands_no_terminal(capsys, monkeypatch, terminal):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    show_table(("\x1b[2J",), [("a\x1b]52;c;eA==\x07",), ("\u202eb",)])
    shown = capsys.readouterr().out
    assert r"\u001b]52;c;eA==\u0007" in shown
    assert r"\u202eb" in shown
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown


def test_a_line_commands_no_terminal(capsys):
    show_line("model \x9b2J")
    assert capsys.readouterr().out == "model \\u009b2J\n"
    assert plain("[red]\x1b\n") == r"\[red]\u001b\n"


def test_json_on_a_terminal_is_plain_and_reads_the_same(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    show_json({"model": "\u202e\x9b漢"}, indent=None)
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert shown.count("\n") == 1
    assert json.loads(shown) == {"model": "\u202e\x9b漢"}


def test_json_is_for_programs(capsys):
    show_json({"a": [1, None]})
    assert json.loads(capsys.readouterr().out) == {"a": [1, None]}
