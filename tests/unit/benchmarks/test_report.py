"""The page of measurements: each section replaced alone, with what was measured where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.report import Section, Table, circumstances, write_section
from docs.markup import replace_part
from shared.runtime.version import VERSION

SECTION = Section(
    "first",
    "The first",
    "make bench",
    "Some words.",
    [("A caption:", Table(["name", "ms"], [["a | b", "1"], ["c", "2"]]))],
    [("Milliseconds of each", "<svg>one</svg>"), ("And again", "<svg>two</svg>")],
    {"nginx": "1.2.3"},
)


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "benchmarks.md"
    path.write_text("# Measurements\n\nBy hand.\n")
    return path


def test_a_new_section_stands_at_the_end_of_the_page(page):
    write_section(SECTION, page)
    text = page.read_text()
    assert text.startswith("# Measurements\n\nBy hand.\n")
    assert "\n## The first\n\n    make bench\n" in text
    assert "Some words." in text
    assert "A caption:\n\n| name | ms |\n| --- | ---: |\n| a \\| b | 1 |\n| c | 2 |\n" in text


def test_a_section_replaces_the_one_of_its_name_alone(page):
    write_section(SECTION, page)
    write_section(replace(SECTION, name="second", title="The second"), page)
    write_section(replace(SECTION, text="Other words."), page)
    text = page.read_text()
    assert text.count("## The first") == 1
    assert text.count("## The second") == 1
    assert text.index("Other words.") < text.index("## The second") < text.index("Some words.")


def test_writing_a_section_twice_changes_nothing_but_the_circumstances(page):
    write_section(SECTION, page, begun="0")
    once = page.read_text().splitlines()
    write_section(SECTION, page, begun="1")
    twice = page.read_text().splitlines()
    changed = [new for old, new in zip(once, twice, strict=True) if old != new]
    assert len(changed) == 1
    assert "before: 1" in changed[0]


def test_the_charts_of_a_section_are_files_that_the_page_shows(page):
    write_section(SECTION, page)
    assert "![Milliseconds of each](pictures/benchmarks/first-1.svg)" in page.read_text()
    assert (page.parent / "pictures/benchmarks/first-2.svg").read_text() == "<svg>two</svg>"


def test_charts_of_the_run_before_are_removed_and_those_of_others_stay(page):
    write_section(SECTION, page)
    write_section(replace(SECTION, name="first-of-all"), page)
    write_section(replace(SECTION, charts=SECTION.charts[:1]), page)
    names = {path.name for path in (page.parent / "pictures/benchmarks").iterdir()}
    assert names == {"first-1.svg", "first-of-all-1.svg", "first-of-all-2.svg"}


def test_a_section_says_what_was_measured_where_and_how_busy_the_machine_was(page):
    write_section(SECTION, page, begun="1.0 / 2.0 / 3.0")
    [line] = [line for line in page.read_text().splitlines() if "Load average" in line]
    assert f"CCProxy {VERSION}" in line
    assert "nginx 1.2.3" in line
    assert "cores of" in line
    assert "Python" in line
    assert "before: 1.0 / 2.0 / 3.0; after: " in line


def test_the_circumstances_are_one_line():
    assert "\n" not in circumstances({"a": "1"}, "0", "0")


def test_a_part_between_two_marks_is_replaced_and_the_rest_stays():
    assert replace_part("a<b>old<c>d", "<b>", "<c>", "new") == "a<b>new<c>d"


@pytest.mark.parametrize("text", ["", "<b> alone", "<c> first <b>"])
def test_a_text_without_the_marks_in_order_is_refused(text):
    with pytest.raises(ValueError, match="do not stand in the text"):
        replace_part(text, "<b>", "<c>", "new")
