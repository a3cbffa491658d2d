"""The pages made from the code are those in the tree, and they miss nothing."""

from __future__ import annotations

import ast
import importlib.util
import re
import typing
from pathlib import Path

import pytest
from anthropic.types.beta.message_create_params import MessageCreateParamsBase
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from ccproxy.cli.exits import EXITS
from shared.formats.chat.request_in import FIELDS as CHAT_FIELDS
from shared.formats.messages.request_in import FATES
from shared.formats.responses.request_in import FIELDS as RESPONSES_FIELDS

ROOT = Path(__file__).parent.parent


def load_generator():
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs/generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATOR = load_generator()


@pytest.mark.parametrize("name", GENERATOR.PAGES)
def test_a_page_made_from_the_code_is_up_to_date(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert (ROOT / name).read_text() == GENERATOR.PAGES[name](), f"{name} is old; run `make docs`"


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        (MessageCreateParamsBase, FATES),
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
    for path in (ROOT / "ccproxy").glob("*.py"):
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
