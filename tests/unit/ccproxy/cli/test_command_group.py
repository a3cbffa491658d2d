"""The common form of the groups of commands."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from ccproxy.cli.command_group import AsJson, command_group


def group(*, no_args_is_help: bool) -> typer.Typer:
    app = command_group("tools", no_args_is_help=no_args_is_help)

    @app.callback(invoke_without_command=True)
    def tools() -> None:
        """Show the tools."""
        typer.echo("called")

    @app.command("list")
    def list_tools(as_json: AsJson = False) -> None:
        """List them."""
        typer.echo(f"json: {as_json}")

    return app


@pytest.mark.parametrize("name", ["--help", "-h"])
def test_a_group_has_a_help_of_two_names(name: str) -> None:
    shown = CliRunner().invoke(group(no_args_is_help=False), [name]).stdout
    assert "Show the tools." in shown
    assert "completion" not in shown


def test_a_group_without_a_command_prints_its_help_unless_it_has_more_to_do() -> None:
    assert "Usage:" in CliRunner().invoke(group(no_args_is_help=True), []).output
    assert CliRunner().invoke(group(no_args_is_help=False), []).stdout == "called\n"


def test_a_command_of_a_group_may_print_json() -> None:
    run = CliRunner().invoke(group(no_args_is_help=True), ["list", "--json"])
    assert run.stdout.endswith("json: True\n")
