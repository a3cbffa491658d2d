"""A person sees the whole of what would happen, whatever the input holds, and nothing in it
deceives the eye.
"""

from __future__ import annotations

import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from permission_service.presentation import TOOLS
from shared.bus.channels import FileBefore
from shared.runtime.visible_text import visible
from tests.unit.permission_service.presenting import FOLDER, all_text, blocks, presented


@pytest.mark.parametrize(
    ("tool", "given_input", "title", "expected"),
    [
        ("Bash", {"command": "ls"}, "Run a command", [("Command", "ls")]),
        (
            "Bash",
            {
                "command": "ls",
                "description": "List",
                "timeout": 120_000,
                "run_in_background": False,
            },
            "Run a command",
            [("Command", "ls"), ("Claude says", "List")],
        ),
        (
            "Bash",
            {"command": "ls", "timeout": 600_000, "run_in_background": True},
            "Run a command in the background",
            [("Command", "ls"), ("Also given", '{\n  "timeout": 600000\n}')],
        ),
        ("Read", {"file_path": f"{FOLDER}/a.py"}, "Read a.py", [("File", f"{FOLDER}/a.py")]),
        ("Read", {"file_path": "/etc/passwd"}, "Read /etc/passwd", [("File", "/etc/passwd")]),
        (
            "WebFetch",
            {"url": "https://python.org/x", "prompt": "the news"},
            "Fetch from python.org",
            [("Address", "https://python.org/x"), ("Claude looks there for", "the news")],
        ),
        ("WebSearch", {"query": "weather"}, "Search the web", [("Words", "weather")]),
        ("Glob", {"pattern": "*.py"}, "Search for files by name", [("Names", "*.py")]),
        (
            "Grep",
            {"pattern": "x", "path": "/etc"},
            "Search in files",
            [("Pattern", "x"), ("Folder", "/etc")],
        ),
        ("Task", {"prompt": "do"}, "Start another agent", [("Its task", "do")]),
        (
            "mcp__db__read",
            {"id": 1},
            "Use read of the MCP server db",
            [("Input", '{\n  "id": 1\n}')],
        ),
        ("TodoWrite", {"todos": []}, "Use TodoWrite", [("Input", '{\n  "todos": []\n}')]),
    ],
)
def test_each_tool_has_a_title_and_labelled_blocks(
    tool: str, given_input: dict[str, Any], title: str, expected: list[tuple[str, str]]
) -> None:
    shown = presented(tool, given_input)
    assert (shown.title, blocks(shown), shown.complete) == (title, expected, True)


def test_a_patch_of_codex_is_shown_as_text_with_its_files_in_the_title() -> None:
    patch = "*** Begin Patch\n*** Update File: a.py\n+x\n*** End Patch"
    shown = presented("apply_patch", {"command": patch}, program="Codex", machine="laptop")
    assert (shown.title, blocks(shown)) == ("Change a.py", [("Patch", patch)])
    assert ("Agent", "Codex") in [(fact.label, fact.text) for fact in shown.asker]
    two = presented("apply_patch", {"command": patch + "\n*** Delete File: b.py"})
    assert two.title == "Change 2 files"
    odd = presented("apply_patch", {"command": "rm"})
    assert (odd.title, bool(odd.warnings)) == ("Use apply_patch", True)


def test_the_asker_is_named_with_labels() -> None:
    facts = {fact.label: fact.text for fact in presented("Bash", {"command": "ls"}).asker}
    assert facts == {"Caller": "alice", "Session": "s1", "Folder": FOLDER}
    assert presented("Bash", {}, caller="").asker[0].text == "local"


ODD: list[dict[str, Any]] = [
    {},
    {"command": None},
    {"command": ["rm", "-rf"]},
    {"command": 5, "description": {"a": 1}},
    {"file_path": 5, "old_string": "a", "new_string": "b"},
    {"file_path": "/a", "edits": ["x"]},
    {"file_path": "/a", "edits": []},
    {"file_path": "/a", "edits": {"old_string": "a"}},
    {"file_path": "/a", "edits": [{"old_string": "a", "new_string": "b", "more": "c"}]},
    {"file_path": "/a", "edits": [{"old_string": "a"}]},
    {"file_path": "/a", "content": ["a"]},
    {"notebook_path": "/a", "edit_mode": ["x"]},
    {"notebook_path": "/a", "new_source": 5},
    {"url": 5},
    {"url": "https://[::1"},
    {"url": ""},
    {"questions": 5},
    {"questions": []},
    {"questions": [5]},
    {"questions": [{"question": "a", "options": 5}]},
    {"questions": [{"question": "a", "options": ["x"]}]},
    {"questions": [{"question": "a"}, {"question": "a"}]},
    {"prompt": [], "pattern": {}},
]


@pytest.mark.parametrize("tool", [*TOOLS, "mcp__a__b", "", "mcp__", "\x1b[2J\u202e"])
@pytest.mark.parametrize("given_input", ODD, ids=str)
def test_an_input_of_another_shape_is_shown_as_json(tool: str, given_input: dict[str, Any]) -> None:
    shown = presented(tool, given_input)
    whole = "".join(block.text for block in shown.blocks) + "".join(map(str, shown.questions))
    for name, value in given_input.items():
        assert (
            f'"{name}"' in whole
            or (isinstance(value, str) and value in whole)
            or name == "new_source"
            or not value
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    (
        *(
            "command",
            "description",
            "timeout",
            "file_path",
            "old_string",
            "new_string",
            "replace_all",
            "edits",
        ),
        *(
            "content",
            "notebook_path",
            "new_source",
            "edit_mode",
            "cell_id",
            "url",
            "prompt",
            "questions",
            "pattern",
        ),
    )
)
TEXT = st.text(alphabet=st.characters(), max_size=30)


@given(
    st.sampled_from([*TOOLS, "mcp__a__b"]),
    st.dictionaries(FIELDS, JSON | TEXT, max_size=5),
    st.none() | st.builds(FileBefore, TEXT, st.booleans(), st.none() | TEXT, TEXT),
    st.none()
    | st.fixed_dictionaries(
        {"tool": TEXT}, optional={"under": TEXT, "host": TEXT, "command_prefix": TEXT}
    ),
)
def test_no_input_raises_and_no_hidden_character_is_left(
    tool: str,
    given_input: dict[str, Any],
    before: FileBefore | None,
    suggestion: dict[str, str] | None,
) -> None:
    shown = presented(
        tool, given_input, file_before=before, suggestion=suggestion, caller=str(given_input)
    )
    for text in all_text(shown):
        assert visible(text) == text
    assert "\n" not in shown.title + shown.summary
    orjson.dumps(shown)


def test_what_hides_is_spelled_out_and_named() -> None:
    shown = presented("Bash", {"command": "echo \u202etxt\u200b\u3164\u115f"})
    assert blocks(shown) == [("Command", r"echo \u202etxt\u200b\u3164\u115f")]
    assert "spelled out" in shown.warnings[0]


def test_a_host_that_looks_like_another_is_shown_as_it_is_looked_up() -> None:
    shown = presented(
        "WebFetch",
        {"url": "https://\u0435xample.com/"},
        suggestion={"tool": "WebFetch", "host": "\u0435xample.com"},
    )
    assert shown.title == "Fetch from xn--xample-2of.com"
    assert shown.summary == "WebFetch https://xn--xample-2of.com/"
    assert ("Host", "xn--xample-2of.com") in blocks(shown)
    assert "xn--xample-2of.com" in shown.warnings[0]
    assert "xn--xample-2of.com" in shown.remember[0].label


def test_the_models_own_words_are_labelled() -> None:
    assert ("Claude says", "Harmless") in blocks(
        presented("Bash", {"command": "rm", "description": "Harmless"})
    )


@pytest.mark.parametrize(
    ("suggestion", "covers"),
    [
        ({"tool": "Bash", "command_prefix": "git status"}, "begins with the words “git status”"),
        ({"tool": "Bash", "command": "make test"}, "exactly this command of Bash: make test"),
        (
            {"tool": "Edit", "under": "/work"},
            "Edit for every file in /work and in the folders below it",
        ),
        ({"tool": "WebFetch", "host": "example.com"}, "every address at the host example.com"),
        ({"tool": "mcp__db__read"}, "every call of mcp__db__read, whatever its input"),
    ],
)
def test_an_answer_for_the_future_says_its_exact_scope(
    suggestion: dict[str, str], covers: str
) -> None:
    session, always = presented("Bash", {"command": "x"}, suggestion=suggestion).remember
    assert (session.scope, always.scope) == ("session", "always")
    assert covers in session.covers
    assert covers in always.covers
    assert len(presented("Bash", {}, suggestion=suggestion, session_id="").remember) == 1


@pytest.mark.parametrize(
    ("tool", "given_input", "text"),
    [
        (
            "Write",
            {"file_path": "/x", "content": "some words\n" * 110_000},
            "other words\n" * 20_000,
        ),
        ("Write", {"file_path": "/x", "content": "a\n" * 100_000}, "a\nb\n" * 50_000),
        ("Bash", {"command": "a" * 1_200_000}, None),
        ("Bash", {"command": "a" * 250_000 + "\u0435"}, None),
        ("mcp__a__b", {"x": "y" * 1_200_000}, None),
        (
            "Edit",
            {"file_path": "/x", "old_string": "a\n", "new_string": "b\n", "replace_all": True},
            "a\n" * 100_000,
        ),
        (
            "MultiEdit",
            {
                "file_path": "/x",
                "edits": [{"old_string": "a\nb\n" * 50, "new_string": "a\nc\n" * 50}] * 200,
            },
            "x",
        ),
    ],
    ids=["write", "repeated lines", "command", "look-alike", "json", "everywhere", "many edits"],
)
def test_the_work_is_bounded(tool: str, given_input: dict[str, Any], text: str | None) -> None:
    before = None if text is None else FileBefore("/x", True, text)
    began = time.process_time()
    presented(tool, given_input, file_before=before)
    assert (
        time.process_time() - began < 5
    )  # some 0.05 s on a quiet machine; unbounded work takes minutes
