"""Charts as SVG, for the page of measurements.

A chart is one self-contained file: no script, no font and no address from elsewhere. It brings its
own ground, light or dark as the reader's system asks, so that it is readable on every page. Its
`desc` holds all values in words. The same values make the same bytes, one element a line.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree import ElementTree

WIDTH = 720
PLOT_HEIGHT = 300
LEFT, RIGHT, TOP, BOTTOM = 84, 32, 48, 56  # around the plot of a line chart
LINE = 20  # height of a line of text
LETTER = 7.3  # estimated width of a letter of the labels
BAR = 26  # height of a bar with its gap
VALUE_WIDTH = 92  # space behind the longest bar for its value
TICKS = 5  # wished for on a linear axis
SMALL_SPAN = 2  # decades of a logarithmic axis that is also marked at 2 and 5

# Each line has its colour, its dashes and its mark, so that it is known without its colour.
LIGHT = ("#0b62a4", "#b3400a", "#00734f", "#8a3f86", "#7a5c00", "#4a4a4a", "#a3123f", "#00697a")
DARK = ("#6db7f2", "#f59b66", "#4fcf9f", "#d99bd6", "#dcbb4a", "#c4c4c4", "#f58aa8", "#5fd0e0")
DASHES = ("none", "7 3", "2 3", "9 3 2 3")
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-size: 15px; font-weight: 600; }
.ground { fill: #ffffff; stroke: #d0d7de; }
.grid { stroke: #e3e6ea; }
.axis { stroke: #6e7781; }
.line { fill: none; stroke-width: 2; }
""" + "".join(
    f".s{number} {{ stroke: {colour}; }} .f{number} {{ fill: {colour}; }}\n"
    for number, colour in enumerate(LIGHT)
)
STYLE_IN_THE_DARK = """
text { fill: #e6e8eb; }
.ground { fill: #16191f; stroke: #3d444d; }
.grid { stroke: #2c323a; }
.axis { stroke: #8b949e; }
""" + "".join(
    f".s{number} {{ stroke: {colour}; }} .f{number} {{ fill: {colour}; }}\n"
    for number, colour in enumerate(DARK)
)


@dataclass(frozen=True)
class Axis:
    """The way from values to places between `begin` and `end`; `ticks` are values to mark."""

    low: float
    high: float
    begin: float
    end: float
    log: bool
    ticks: Sequence[float]

    def place(self, value: float) -> float:
        """Return where `value` stands; one that a logarithmic axis lacks stands at its begin."""
        if self.log:
            if value <= self.low:
                return self.begin
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(self.begin + part * (self.end - self.begin), 1)


def linear_axis(values: Sequence[float], begin: float, end: float) -> Axis:
    """Return an axis with all of `values` and zero."""
    low = min(0.0, *values)
    high = max(0.0, *values)
    if low == high:
        high = 1.0
    step = nice_step((high - low) / TICKS)
    first = math.floor(low / step)
    last = math.ceil(round(high / step, 9))
    ticks = [round(number * step, 12) for number in range(first, last + 1)]
    return Axis(ticks[0], ticks[-1], begin, end, False, ticks)


def nice_step(least: float) -> float:
    """Return the smallest of 1, 2, 5, 10, 20, … (or parts of ten) that is no less than `least`."""
    decade = 10.0 ** math.floor(math.log10(least))
    return next(decade * factor for factor in (1, 2, 5, 10) if decade * factor >= least * 0.999)


def log_axis(values: Sequence[float], begin: float, end: float) -> Axis:
    """Return an axis of whole decades with all positive ones of `values`."""
    positive = [value for value in values if value > 0] or [1.0]
    first = math.floor(round(math.log10(min(positive)), 9))
    last = math.ceil(round(math.log10(max(positive)), 9))
    if first == last:
        last += 1
    factors = (1, 2, 5) if last - first <= SMALL_SPAN else (1,)
    ticks = [factor * 10.0**decade for decade in range(first, last) for factor in factors]
    return Axis(10.0**first, 10.0**last, begin, end, True, [*ticks, 10.0**last])


def number_text(value: float) -> str:
    """Return `value` in three digits, thousands as k, millions as M, milliards as G."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{float(f'{value:.3g}') / size:g} {letter}"
    return f"{value:.3g}"


class Drawing:
    """An SVG under construction."""

    def __init__(self, title: str, description: str, height: float) -> None:
        self.root = ElementTree.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "viewBox": f"0 0 {WIDTH} {height:g}",
                "role": "img",
                "aria-labelledby": "title desc",
            },
        )
        ElementTree.SubElement(self.root, "title", {"id": "title"}).text = title
        ElementTree.SubElement(self.root, "desc", {"id": "desc"}).text = description
        dark = f"@media (prefers-color-scheme: dark) {{{STYLE_IN_THE_DARK}}}\n"
        ElementTree.SubElement(self.root, "style").text = STYLE + dark
        self.add("rect", "ground", x=0.5, y=0.5, width=WIDTH - 1, height=height - 1, rx=6)
        self.text(title, 16, 27, kind="title")

    def add(self, element: str, kind: str, **attributes: float | str) -> None:
        """Add an element of the class `kind`."""
        texts = {
            name.replace("_", "-"): value if isinstance(value, str) else f"{value:g}"
            for name, value in attributes.items()
        }
        ElementTree.SubElement(self.root, element, {"class": kind, **texts})

    def text(
        self,
        words: str,
        x: float,
        y: float,
        *,
        anchor: str = "start",
        kind: str = "",
        turn: str = "",
    ) -> None:
        """Write `words` at a place."""
        attributes = {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor}
        if kind:
            attributes["class"] = kind
        if turn:
            attributes["transform"] = turn
        ElementTree.SubElement(self.root, "text", attributes).text = words

    def svg(self) -> str:
        ElementTree.indent(self.root, "")
        return ElementTree.tostring(self.root, encoding="unicode") + "\n"


def line_chart(
    title: str,
    x_label: str,
    y_label: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    log_x: bool = False,
    log_y: bool = False,
) -> str:
    """Return an SVG with one line for each of `series`."""
    x_values = [x for points in series.values() for x, _ in points] or [0.0]
    y_values = [y for points in series.values() for _, y in points] or [0.0]
    legend = list(legend_places(list(series)))
    top = TOP + LINE * (1 + max((row for row, _ in legend), default=0))
    bottom = top + PLOT_HEIGHT
    x_axis = (log_axis if log_x else linear_axis)(x_values, LEFT, WIDTH - RIGHT)
    y_axis = (log_axis if log_y else linear_axis)(y_values, bottom, top)
    words = "; ".join(
        f"{name}: " + ", ".join(f"{number_text(y)} at {number_text(x)}" for x, y in points)
        for name, points in series.items()
    )
    drawing = Drawing(title, f"{y_label} over {x_label}. {words}.", bottom + BOTTOM)
    for tick in y_axis.ticks:
        y = y_axis.place(tick)
        drawing.add("line", "grid", x1=LEFT, y1=y, x2=WIDTH - RIGHT, y2=y)
        drawing.text(number_text(tick), LEFT - 8, y + 4, anchor="end")
    for tick in x_axis.ticks:
        x = x_axis.place(tick)
        drawing.add("line", "grid", x1=x, y1=top, x2=x, y2=bottom)
        drawing.text(number_text(tick), x, bottom + 18, anchor="middle")
    drawing.add("line", "axis", x1=LEFT, y1=bottom, x2=WIDTH - RIGHT, y2=bottom)
    drawing.add("line", "axis", x1=LEFT, y1=top, x2=LEFT, y2=bottom)
    drawing.text(x_label, (LEFT + WIDTH - RIGHT) / 2, bottom + 42, anchor="middle")
    middle = (top + bottom) / 2
    drawing.text(y_label, 20, middle, anchor="middle", turn=f"rotate(-90 20 {middle:g})")
    for number, (name, points) in enumerate(series.items()):
        row, x = legend[number]
        y = TOP + LINE * row
        draw_line(drawing, number, [(x, y), (x + 28, y)], [(x + 14, y)])
        drawing.text(name, x + 34, y + 4)
        places = [(x_axis.place(x), y_axis.place(y)) for x, y in sorted(points)]
        draw_line(drawing, number, places, places)
    return drawing.svg()


def legend_places(names: Sequence[str]) -> Iterator[tuple[int, float]]:
    """Yield the row of each name in the legend, and where it begins there."""
    row, x = 0, 16.0
    for name in names:
        width = 34 + LETTER * len(name) + 22
        if x > 16 and x + width > WIDTH:
            row, x = row + 1, 16.0
        yield row, round(x, 1)
        x += width


def draw_line(
    drawing: Drawing,
    number: int,
    places: Sequence[tuple[float, float]],
    marks: Sequence[tuple[float, float]],
) -> None:
    """Draw the line of the series `number` through `places`, with its mark at each of `marks`."""
    colour = number % len(LIGHT)
    for (x1, y1), (x2, y2) in pairwise(places):
        dashes = DASHES[number % len(DASHES)]
        kind = f"line s{colour}"
        drawing.add("line", kind, x1=x1, y1=y1, x2=x2, y2=y2, stroke_dasharray=dashes)
    for x, y in marks:
        MARKS[number % len(MARKS)](drawing, f"f{colour}", x, y)


def disc(drawing: Drawing, kind: str, x: float, y: float) -> None:
    drawing.add("circle", kind, cx=x, cy=y, r=4)


def square(drawing: Drawing, kind: str, x: float, y: float) -> None:
    drawing.add("rect", kind, x=round(x - 3.5, 1), y=round(y - 3.5, 1), width=7, height=7)


def diamond(drawing: Drawing, kind: str, x: float, y: float) -> None:
    drawing.add("path", kind, d=f"M{x:g} {y - 5:g}l5 5l-5 5l-5 -5z")


MARKS: Sequence[Callable[[Drawing, str, float, float], None]] = (disc, square, diamond)


def bar_chart(title: str, unit: str, values: Mapping[str, float], *, log: bool = False) -> str:
    """Return an SVG with one bar for each of `values`, named on its left, its value behind it."""
    left = min(WIDTH / 2, 24 + LETTER * max((len(name) for name in values), default=0))
    numbers = list(values.values()) or [0.0]
    top, bottom = TOP, TOP + BAR * len(values)
    # The smallest bar of a logarithmic axis is to be seen too.
    spread = [*numbers, min((value for value in numbers if value > 0), default=1) / 2]
    axis = (log_axis if log else linear_axis)(spread, round(left, 1), WIDTH - VALUE_WIDTH)
    words = ", ".join(f"{name}: {number_text(value)}" for name, value in values.items())
    drawing = Drawing(title, f"{unit}. {words}.", bottom + BOTTOM)
    for tick in axis.ticks:
        x = axis.place(tick)
        drawing.add("line", "grid", x1=x, y1=top, x2=x, y2=bottom)
        drawing.text(number_text(tick), x, bottom + 18, anchor="middle")
    foot = axis.begin if log else axis.place(0)
    for number, (name, value) in enumerate(values.items()):
        y = top + BAR * number
        end = axis.place(value)
        begin, width = min(foot, end), abs(end - foot)
        drawing.text(name, round(left - 8, 1), y + 17, anchor="end")
        drawing.add("rect", "f0", x=begin, y=y + 4, width=round(width, 1), height=BAR - 8)
        drawing.text(number_text(value), max(foot, end) + 6, y + 17)
    drawing.add("line", "axis", x1=foot, y1=top, x2=foot, y2=bottom)
    drawing.text(unit, (axis.begin + axis.end) / 2, bottom + 42, anchor="middle")
    return drawing.svg()
