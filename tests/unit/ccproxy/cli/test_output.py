from __future__ import annotations

import json
import re

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


def use_narrow_terminal(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")


def lines_shown(capsys):
    """Return the lines on the terminal, without colours."""
    return re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).splitlines()


def test_a_narrow_terminal_gets_the_table_without_spare_columns(capsys, monkeypatch):
    use_narrow_terminal(monkeypatch)
    columns = ("SESSION", "LASTED", "REQUESTS", "COST")
    rows = [("0123456789abcdef", "9 min", "12", "$1,250,001.25")]
    show_table(columns, rows, spare=("LASTED", "REQUESTS"), cut=("SESSION",))
    head, row, *note = lines_shown(capsys)
    assert head.split() == ["SESSION", "REQUESTS", "COST"]
    assert row.split() == ["0123456789abcd…", "12", "$1,250,001.25"]
    assert " ".join(" ".join(note).split()) == "A wider terminal or --json shows LASTED too."


def test_a_row_with_no_room_in_a_terminal_is_a_block_of_lines(capsys, monkeypatch):
    use_narrow_terminal(monkeypatch)
    columns = ("request_id", "path", "model", "error_message")
    row = ("req_0123456789abcdef", "/api/v1/messages", "claude-sonnet-5-5", "fail")
    show_table(columns, [row, row])
    shown = lines_shown(capsys)
    first = [line.split() for line in shown[:4]]
    assert first == [
        ["request_id", row[0]],
        ["path", row[1]],
        ["model", row[2]],
        ["error_message", "wrong"],
    ]
    assert shown[4:] == ["", *shown[:4]]


def test_no_word_of_a_narrow_table_is_lost(capsys, monkeypatch):
    use_narrow_terminal(monkeypatch)
    long = "/srv/a-folder-of-a-rather-long-name-with/credentials.json"
    show_table(("WHAT", "SAYS"), [("login", f"{long} does not exist")])
    shown = lines_shown(capsys)
    assert "…" not in "".join(shown)
    assert long in "".join(line[7:].strip() for line in shown[1:])


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
