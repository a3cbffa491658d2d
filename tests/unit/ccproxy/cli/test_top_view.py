"""A frame of `ccproxy top` fits its terminal, and no text from outside commands it."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from ccproxy.cli.top_view import PARTS, Overview, TopView, overview_frame

USAGE: dict[str, Any] = {"quota": [], "spent": [], "problem": "", "prices_as_of": "2026-01-01"}
ENTRY = {
    "timestamp": "2026-11-22T12:00:00+00:00",
    "status_code": 200,
    "caller": "aider",
    "client_program": "",
    "model": "claude-sonnet-5-5",
    "tokens_input": 10,
    "cache_read_tokens": 30,
    "cache_write_tokens": 0,
    "tokens_output": 5,
    "duration_ms": 1240.0,
}


def drawn(found: Overview, columns: int = 80) -> str:
    text = io.StringIO()
    Console(file=text, width=columns, highlight=False).print(
        overview_frame(found, 0.0, groups=5, recent=10)
    )
    return text.getvalue()


def test_a_request_is_a_row_with_its_client_model_tokens_and_seconds() -> None:
    (row,) = [
        line for line in drawn(Overview(USAGE, [], [], [ENTRY])).splitlines() if "aider" in line
    ]
    assert row.split()[1:] == ["200", "aider", "claude-sonnet-5-5", "40", "→", "5", "1.24", "s"]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_no_row_is_wider_than_the_terminal(columns: int) -> None:
    entry = ENTRY | {"model": "long-name-" * 30}
    assert max(map(len, drawn(Overview(USAGE, [], [], [entry]), columns).splitlines())) <= columns


def test_a_cost_that_cannot_be_shown_is_said() -> None:
    found = Overview(USAGE | {"problem": "Analytics does not run."}, [], [], [])
    assert "Analytics does not run." in drawn(found)


def test_no_text_from_outside_commands_the_terminal() -> None:
    told = drawn(Overview(USAGE, [], [], [ENTRY | {"model": "\x1b[2J[red]"}]))
    assert "\x1b" not in told
    assert "[red]" in told


MODEL = {
    "name": "claude-sonnet-5-5",
    "requests": 4,
    "succeeded": 3,
    "cost_usd": 0.5,
    "tokens_input": 1,
    "tokens_output": 1,
    "cache_read_tokens": 0,
    "cache_write_tokens": 0,
}
CLIENT = MODEL | {"name": "aider"}
WINDOW = {
    "window": "5h",
    "used_percent": 42.0,
    "resets_at": 9e9,
    "percent_per_hour": 1.0,
    "empty_at": None,
}
QUOTA = {"provider": "codex", "plan": "plus", "extra_usage": False, "windows": [WINDOW]}
FOUND = Overview(USAGE | {"quota": [QUOTA]}, [MODEL] * 60, [CLIENT] * 60, [ENTRY] * 60)


def rows_of(view: TopView, rows: int = 24, columns: int = 80) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=columns, highlight=False).print(view.frame(0.0, rows))
    return text.getvalue().splitlines()


@pytest.mark.parametrize(("rows", "columns"), [(24, 80), (12, 40), (60, 200)])
@pytest.mark.parametrize("key", ["1", "2", "3", "4", "?"])
def test_each_part_fits_the_terminal(key: str, rows: int, columns: int) -> None:
    view = TopView(FOUND)
    view.press(key)
    shown = rows_of(view, rows, columns)
    assert max(map(len, shown)) <= columns
    assert len(shown) <= rows


def shows(view: TopView) -> str:
    """Return the title of the table below the windows of `view`."""
    titles = {"LAST": PARTS[0], "MODEL, 24 H": PARTS[1], "CLIENT, 24 H": PARTS[2], "TIME": PARTS[3]}
    lines = rows_of(view)[3:]
    return next(part for title, part in titles.items() for line in lines if line.startswith(title))


def test_keys_go_through_the_parts_and_around() -> None:
    view = TopView(FOUND)
    seen = []
    for key in ("\t", "down", "j", "\x1b[C", "k", "\x1b[Z", "up", "\x1b[D"):
        assert view.press(key)
        seen.append(shows(view))
    overview, models, clients, requests = PARTS
    assert seen == [models, clients, requests, overview, requests, clients, models, overview]


def test_a_number_chooses_a_part_and_an_unknown_key_changes_nothing() -> None:
    view = TopView(FOUND)
    for key in ("3", "x", "9", "0", "²", "\x1b[5~"):
        assert view.press(key)
    assert shows(view) == "Clients"


def test_keys_that_arrive_together_are_all_heard() -> None:
    view = TopView(FOUND)
    assert view.press("jj")
    assert shows(view) == "Clients"
    assert not view.press("jq")


@pytest.mark.parametrize("key", ["q", "Q", "end"])
def test_these_keys_end_the_view(key: str) -> None:
    assert not TopView(FOUND).press(key)


def test_a_paused_view_says_so_and_goes_on_after_the_same_key() -> None:
    view = TopView(FOUND)
    view.press("p")
    assert view.is_paused
    assert "paused" in rows_of(view)[0]
    view.press("p")
    assert not view.is_paused


def test_the_keys_are_shown_and_hidden_by_the_same_key() -> None:
    view = TopView(FOUND)
    view.press("?")
    assert any("Shift-Tab" in line for line in rows_of(view))
    view.press("?")
    assert shows(view) == "Overview"


def test_a_stack_without_requests_gets_sentences_in_place_of_empty_tables() -> None:
    shown = drawn(Overview(USAGE, [], [], []))
    assert "No quota data yet" in shown
    assert "No request to a provider yet." in shown
    assert not {"WINDOW", "STATUS", "FAILED"} & set(shown.split())


def test_a_problem_stands_in_place_of_the_part_until_the_next_answer() -> None:
    view = TopView(FOUND)
    view.show_problem("CCProxy is not running.")
    assert rows_of(view)[3] == "CCProxy is not running."
    view.show(FOUND)
    assert shows(view) == "Overview"


def test_the_last_requests_fill_the_rest_of_the_overview() -> None:
    shown = rows_of(TopView(FOUND), rows=24)
    assert len(shown) == 24
    assert sum("aider" in line for line in shown) == 24 - 3 - 2 - 1 - 4 - 1 - 1


def test_requests_that_wait_are_shown_in_a_pipe_and_in_a_small_terminal() -> None:
    held = {
        "since": 0.0,
        "caller": "night",
        "client_program": "",
        "model": "claude-x",
        "provider": "claude",
        "priority": "ordinary",
        "waits_for": "place",
    }
    found = Overview(USAGE, [], [], [ENTRY], [held])
    assert "a place at claude" in drawn(found)
    text = io.StringIO()
    Console(file=text, width=80, highlight=False).print(TopView(found).frame(0.0, 12))
    assert "a place at claude" in text.getvalue()
