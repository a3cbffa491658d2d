"""The options by which a command's user chooses a stack."""

from __future__ import annotations

import os

import pytest
import typer
from typer.testing import CliRunner

from ccproxy.cli.stack_options import CHOSEN_TOKEN, CHOSEN_URL, with_stack

app = typer.Typer()


@app.command()
@with_stack
def show(name: str, loud: bool = False) -> None:
    """Show the choice."""
    typer.echo(f"{name} {loud} {os.environ[CHOSEN_URL]} {os.environ[CHOSEN_TOKEN]}")


@pytest.fixture(autouse=True)
def _nothing_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHOSEN_URL, "")
    monkeypatch.setenv(CHOSEN_TOKEN, "")


def test_a_choice_travels_beside_the_command_s_own_options() -> None:
    run = CliRunner().invoke(app, ["x", "--loud", "--url", "http://box:1", "--token", "t"])
    assert run.stdout == "x True http://box:1 t\n"


def test_a_choice_of_the_shell_holds_until_the_command_line_makes_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CHOSEN_URL, "http://shell:1")
    assert "http://shell:1" in CliRunner().invoke(app, ["x"]).stdout
    assert "http://shell:1" not in CliRunner().invoke(app, ["x", "--url", "http://box:1"]).stdout


def test_a_command_may_be_called_without_a_choice(capsys: pytest.CaptureFixture[str]) -> None:
    show("x")
    assert capsys.readouterr().out.startswith("x False")


def test_the_help_tells_both_options() -> None:
    shown = CliRunner().invoke(app, ["--help"]).stdout
    assert "--url" in shown
    assert "--token" in shown
