"""The first screen fits 80 columns and names the addresses, the problems and the next step."""

from __future__ import annotations

from pathlib import Path

from ccproxy.launcher.announcement import first_screen, notes
from ccproxy.launcher.programs import find_script
from ccproxy.launcher.readiness import Health
from shared.settings.tree import load_settings


def test_a_stack_without_a_token_says_that_any_program_may_approve(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (note,) = notes(load_settings())
    assert "SECURITY__AUTH_TOKEN" in note


def test_a_stack_with_a_token_has_no_note(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list(notes(load_settings(security={"auth_token": "s3cret"}))) == []


def test_a_foreign_address_of_a_provider_is_named(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings(
        claude={"base_url": "http://127.0.0.1:1"}, security={"auth_token": "s3cret"}
    )
    (note,) = notes(settings)
    assert "CLAUDE__BASE_URL: your credentials go to http://127.0.0.1:1" in note


def test_settings_that_name_the_same_receiver_share_a_note(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings(
        claude={"base_url": "http://127.0.0.1:1"},
        codex={"base_url": "http://127.0.0.1:1/backend-api/codex"},
        security={"auth_token": "s3cret"},
    )
    (note,) = notes(settings)
    assert note.startswith("CLAUDE__BASE_URL, CODEX__BASE_URL: ")


URL = "http://127.0.0.1:8000"
NO_LOGIN = "No Claude credentials were found (" + "~/.claude " * 9 + "): run this."
CHECKS = [
    ("/api", "warn", NO_LOGIN),
    ("/sdk", "warn", NO_LOGIN),
    ("bus", "pass", "Redis answers."),
    ("analytics", "fail", "none runs"),
]


def screen(columns: int, checks: list[tuple[str, str, str]] = CHECKS) -> list[str]:
    settings = load_settings(security={"auth_token": "s3cret"})
    return list(first_screen(settings, URL, Health(ready=True, checks=checks), columns))


def test_no_line_of_the_first_screen_is_wider_than_the_terminal(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    lines = screen(80)
    assert max(map(len, lines)) <= 80
    assert lines[0].endswith(f"is ready at {URL}, but without analytics")


def test_the_first_screen_ends_with_the_next_step_and_the_way_to_stop(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(find_script("ccproxy")[0]).parent))
    assert screen(80)[-3:] == [
        "  Next       ccproxy run -- claude    in another terminal",
        f"             or: export ANTHROPIC_BASE_URL={URL}/api",
        "  Stop       Ctrl-C",
    ]


def test_a_shared_problem_is_told_once_and_a_working_part_has_no_line(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    told = screen(1000)
    assert [line for line in told if "credentials" in line] == [
        f"  note       /api, /sdk: {NO_LOGIN}"
    ]
    assert not [line for line in told if "Redis" in line]
    assert "  missing    analytics: none runs" in told


def test_the_next_step_names_the_program_s_path_while_it_is_not_on_the_path(
    monkeypatch, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    [program] = find_script("ccproxy")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert any(f"Next       {program} run -- claude" in line for line in screen(1000))


def test_a_demo_has_no_note_about_its_own_simulator(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings(claude={"base_url": "http://127.0.0.1:1"})
    lines = first_screen(settings, URL, Health(ready=True, checks=[]), 80, "demo")
    assert not [line for line in lines if "note" in line]


def test_a_key_that_may_pay_after_the_subscription_has_a_note(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings(
        codex={"when_used_up": {"api_key": "sk-spare", "usd_per_day": 2.5}},
        security={"auth_token": "s3cret"},
    )
    (note,) = notes(settings)
    assert note == (
        "Your API key for codex pays while a window of the subscription is used up, at most $2.50 "
        "a day (CODEX__WHEN_USED_UP)."
    )
