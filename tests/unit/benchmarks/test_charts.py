"""The charts of the page of measurements, by what their SVG says."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from benchmarks.charts import bar_chart, line_chart, linear_axis, log_axis, number_text

SVG = "{http://www.w3.org/2000/svg}"
GROWING = {"one": [(1, 10.0), (100, 10.0)], "two": [(1, 10.0), (10, 100.0), (100, 1000.0)]}


def read(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [each.text or "" for each in read(svg).iter(f"{SVG}text")]


def marks(svg: str) -> list[tuple[float, float]]:
    """The places of the discs: the first in the legend, the others at the points of a line."""
    return [
        (float(each.get("cx", "")), float(each.get("cy", "")))
        for each in read(svg).iter(f"{SVG}circle")
    ]


def bars(svg: str) -> list[ElementTree.Element]:
    return [each for each in read(svg).iter(f"{SVG}rect") if each.get("class") == "f0"]


def test_a_chart_says_its_title_its_axes_and_its_series():
    said = texts(line_chart("Cost", "sessions", "CPU-ms", GROWING))
    assert {"Cost", "sessions", "CPU-ms", "one", "two"} <= set(said)


def test_a_chart_has_a_title_and_all_values_for_a_screen_reader():
    svg = read(line_chart("Cost", "sessions", "CPU-ms", GROWING))
    assert svg.get("role") == "img"
    assert svg.findtext(f"{SVG}title") == "Cost"
    description = svg.findtext(f"{SVG}desc") or ""
    assert "CPU-ms over sessions" in description
    assert "two: 10 at 1, 100 at 10, 1 k at 100" in description


def test_a_chart_runs_nothing_and_loads_nothing():
    svg = line_chart("Cost", "x", "y", GROWING) + bar_chart("Cost", "ms", {"one": 1})
    assert "<script" not in svg
    assert "@import" not in svg
    assert "url(" not in svg
    assert "href" not in svg


def test_the_same_values_make_the_same_bytes_with_one_element_a_line():
    svg = line_chart("Cost", "x", "y", GROWING)
    assert svg == line_chart("Cost", "x", "y", GROWING)
    lines = [line for line in svg.splitlines() if line.startswith("<line")]
    assert all(line.endswith("/>") and line.count("<") == 1 for line in lines)


def test_a_chart_is_readable_in_the_light_and_in_the_dark():
    style = read(bar_chart("Cost", "ms", {"one": 1})).findtext(f"{SVG}style") or ""
    light, found, dark = style.partition("@media (prefers-color-scheme: dark)")
    assert found
    assert ".ground { fill: #ffffff" in light
    assert ".ground { fill: #16191f" in dark


@pytest.mark.parametrize("words", ["<b> & \"c\" 'd'", "]]>", "</text>"])
def test_words_are_never_markup(words):
    svg = line_chart(words, words, words, {words: [(1, 1)]}) + ""
    assert texts(svg).count(words) == 4
    assert words in texts(bar_chart(words, words, {words: 1}))


def test_equal_ratios_are_equal_distances_on_a_logarithmic_axis():
    svg = line_chart("", "x", "y", {"": [(1, 1), (10, 10), (100, 100)]}, log_x=True, log_y=True)
    _, first, second, third = marks(svg)
    assert second[0] - first[0] == pytest.approx(third[0] - second[0], abs=0.2)
    assert first[1] - second[1] == pytest.approx(second[1] - third[1], abs=0.2)


def test_equal_differences_are_equal_distances_on_a_linear_axis():
    _, first, second, third = marks(line_chart("", "x", "y", {"": [(0, 0), (5, 50), (10, 100)]}))
    assert second[0] - first[0] == pytest.approx(third[0] - second[0], abs=0.2)
    assert first[1] - second[1] == pytest.approx(second[1] - third[1], abs=0.2)


def test_a_linear_axis_has_zero_and_round_ticks():
    assert linear_axis([30, 97], 0, 100).ticks == [0, 20, 40, 60, 80, 100]
    assert linear_axis([-3, 4], 0, 100).ticks == [-4, -2, 0, 2, 4]
    assert linear_axis([0.25], 0, 100).ticks == [0, 0.05, 0.1, 0.15, 0.2, 0.25]


def test_a_logarithmic_axis_has_whole_decades():
    assert log_axis([3, 40_000], 0, 100).ticks == [1, 10, 100, 1000, 10_000, 100_000]
    assert log_axis([100, 1000], 0, 100).ticks == [100, 200, 500, 1000]
    assert log_axis([0.02], 0, 100).ticks == pytest.approx([0.01, 0.02, 0.05, 0.1])


@pytest.mark.parametrize("log", [False, True])
def test_one_point_is_a_mark_without_a_line(log):
    svg = line_chart("", "x", "y", {"": [(7, 7)]}, log_x=log, log_y=log)
    assert len(marks(svg)) == 2
    lines = [
        each for each in read(svg).iter(f"{SVG}line") if "line" in each.get("class", "").split()
    ]
    assert len(lines) == 1  # in the legend


@pytest.mark.parametrize("log", [False, True])
def test_zero_stands_at_the_foot_of_a_chart(log):
    _, zero, other = marks(line_chart("", "x", "y", {"": [(1, 0), (2, 5)]}, log_y=log))
    assert zero[1] > other[1]
    empty, full = bars(bar_chart("", "ms", {"none": 0, "some": 5}, log=log))
    assert float(empty.get("width", "")) == 0
    assert float(full.get("width", "")) > 0


@pytest.mark.parametrize("log", [False, True])
def test_a_chart_of_nothing_is_a_chart(log):
    assert "Cost" in texts(line_chart("Cost", "x", "y", {}, log_x=log, log_y=log))
    assert "Cost" in texts(bar_chart("Cost", "ms", {}, log=log))


def test_every_point_is_inside_the_picture():
    svg = line_chart("", "x", "y", GROWING, log_x=True, log_y=True)
    _, _, width, height = map(float, (read(svg).get("viewBox") or "").split())
    for x, y in marks(svg):
        assert 0 < x < width
        assert 0 < y < height


def test_a_bar_is_as_long_as_its_value():
    short, long = bars(bar_chart("", "ms", {"short": 10, "long": 40}))
    ratio = float(long.get("width", "")) / float(short.get("width", ""))
    assert math.isclose(ratio, 4, rel_tol=0.01)
    said = texts(bar_chart("", "ms", {"short": 10, "long": 40}))
    assert {"short", "long", "10", "40", "ms"} <= set(said)


def test_many_names_of_series_take_several_rows_of_the_legend():
    few = read(line_chart("", "x", "y", {"a": [(1, 1)]})).get("viewBox", "").split()
    names = {f"a series with a long name {number}": [(1.0, 1.0)] for number in range(8)}
    many = read(line_chart("", "x", "y", names)).get("viewBox", "").split()
    assert float(many[3]) > float(few[3])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0123, "0.0123"), (999, "999"), (1000, "1 k"), (12_345, "12.3 k"),
     (999_999, "1 M"), (2.5e9, "2.5 G"), (-1500, "-1.5 k")],
)  # fmt: skip
def test_a_number_is_told_in_three_digits(value, text):
    assert number_text(value) == text
