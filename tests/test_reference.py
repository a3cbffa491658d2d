"""The pages made from the code are those in the tree, and they miss nothing."""

from __future__ import annotations

import ast
import re
import typing
from pathlib import Path

import duckdb
import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from analytics.select import TABLES
from analytics.statements import MIGRATIONS, STATEMENTS
from ccproxy.cli.exits import EXITS
from docs import generate
from shared.formats.chat.request_in import FIELDS as CHAT_FIELDS
from shared.formats.messages.request_in import FIELDS as MESSAGES_FIELDS
from shared.formats.responses.request_in import FIELDS as RESPONSES_FIELDS

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", generate.PAGES)
def test_a_page_made_from_the_code_is_up_to_date(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert (ROOT / name).read_text() == generate.PAGES[name](), f"{name} is old; run `make docs`"


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        (MessageCreateParamsBase, MESSAGES_FIELDS),
        (CompletionCreateParamsBase, CHAT_FIELDS),
        (ResponseCreateParamsBase, RESPONSES_FIELDS),
    ],
)
def test_every_field_the_official_library_can_send_has_a_fate(official, ours):
    fields = typing.get_type_hints(official).keys() - {
        "betas",
        "user_profile_id",
        "workspace_id",
    }  # headers
    assert fields <= ours.keys()


def test_every_exit_code_in_use_is_explained():
    """No command ends with a bare number."""
    numbers = set()
    for path in (ROOT / "ccproxy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "typer.Exit",
                "SystemExit",
                "sys.exit",
            }:
                numbers |= {each.value for each in node.args if isinstance(each, ast.Constant)}
    assert numbers <= EXITS.keys()


def test_links_between_pages_lead_somewhere():
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
        for target in re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)[^)]*\)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken


def test_the_page_about_sql_names_every_table_and_column():
    page = (ROOT / "docs/how-to/sql.md").read_text()
    with duckdb.connect() as connection:
        for script in MIGRATIONS:
            connection.execute(script)
        connection.execute(STATEMENTS["views"])
        rows = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE list_contains($1, table_name)",
            [sorted(TABLES)],
        ).fetchall()
    assert {table for table, _ in rows} == TABLES
    assert [name for row in rows for name in row if f"`{name}`" not in page] == []


MOST_FILES_OF_A_WALK = {"1.": 12, "4.": 25}


def test_the_walks_name_files_that_exist_in_the_number_stated():
    text = (ROOT / "docs/architecture.md").read_text()
    walks = dict(re.findall(r"\n\*\*(\d\.) (.*?)(?=\n\*\*\d\. |\n## )", text, re.DOTALL))
    lists = [
        found
        for walk in walks.values()
        for found in re.findall(r"\nRead[^(]*\((\d+) files\): (.*?)\n\n", walk + "\n\n", re.DOTALL)
    ]
    assert len(lists) == text.count("\nRead")
    for stated, listed in lists:
        names = re.findall(r"`([\w/]+\.py)`", listed)
        assert len(names) == len(set(names)) == int(stated)
        assert not [name for name in names if not (ROOT / name).is_file()]
    for number, most in MOST_FILES_OF_A_WALK.items():
        (stated,) = re.findall(r"\nRead, in order \((\d+) files\)", walks[number])
        assert int(stated) <= most
