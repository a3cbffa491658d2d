"""The section of the page which compares the gateway with other programs: figures to tables, charts
and words.

Nothing is measured here. Each figure is the median of its rounds; an added time is the median of
the differences to `direct` in the same round.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.charts import bar_chart, line_chart
from benchmarks.report import Table

Found = Mapping[str, Sequence[Mapping[str, Any]]]  # program: what each round found
DIRECT = "direct"
STREAMS = (1, 64, 256, 1000)


def median_of(rounds: Sequence[Mapping[str, Any]], cell: str, figure: str) -> float | None:
    """Return the median of a figure of a load over `rounds`."""
    values = [one.get("cells", {}).get(cell, {}).get(figure) for one in rounds]
    return median(values)


def median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def added(found: Found, name: str, cell: str, figure: str) -> float | None:
    """Return the median of what program `name` adds to `direct` in each round."""
    differences = []
    for one, direct in zip(found[name], found[DIRECT], strict=False):
        with_program = one.get("cells", {}).get(cell, {}).get(figure)
        without = direct.get("cells", {}).get(cell, {}).get(figure)
        if with_program is not None and without is not None:
            differences.append(with_program - without)
    return median(differences)


def text_of(value: float | None) -> str:
    """Return a figure for a table, in three digits or all that stand before the point."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def took(found: Found, cell: str) -> list[str]:
    """Return the programs which were put under the load `cell`."""
    return [
        name
        for name, rounds in found.items()
        if any(cell in one.get("cells", {}) for one in rounds)
    ]


def errors_of(rounds: Sequence[Mapping[str, Any]], *cells: str) -> str:
    """Return the sum of errors of loads, or that one was not run."""
    total = 0
    for one in rounds:
        for cell in cells:
            here = one.get("cells", {}).get(cell, {})
            if "left out" in here:
                return "not run"
            total += here.get("errors", 0)
    return str(total)


def work_table(found: Found, whole: str, burst: str, one: str = "") -> Table:
    """Return what each program does a CPU-second, and what it adds to one request alone."""
    rows = []
    for name in took(found, whole):
        rounds = found[name]
        if name == DIRECT:
            continue
        latency = [added(found, name, one, f"latency_{share}") for share in ("p50", "p99") if one]
        figures = [
            median_of(rounds, whole, "requests/cpu-s"),
            median_of(rounds, burst, "cpu-ms/answer"),
        ]
        cells = [whole, burst, one] if one else [whole, burst]
        rows.append([name, *map(text_of, [*latency, *figures]), errors_of(rounds, *cells)])
    head = ["requests a CPU-second", "CPU ms a burst stream", "errors"]
    more = ["added p50, ms", "added p99, ms"] if one else []
    return Table(["program", *more, *head], rows)


def paced_table(found: Found, cells: Mapping[int, str]) -> Table:
    """Return what streams at the pace of a model cost and how late their tokens come; `cells` are
    loads by their number of streams.
    """
    rows = []
    for streams, cell in cells.items():
        for name in took(found, cell):
            rounds = found[name]
            figures = (
                "done",
                "first_token_p50",
                "first_token_p99",
                "delay_p50",
                "delay_p99",
                "cpu-us/token",
            )
            texts = [text_of(median_of(rounds, cell, figure)) for figure in figures]
            rows.append([name, f"{streams:,}", *texts, errors_of(rounds, cell)])
    head = ["first token p50, ms", "p99", "token delay p50, ms", "p99", "CPU µs a token", "errors"]
    return Table(["program", "streams", "finished", *head], rows)


def bodies_table(found: Found) -> Table:
    rows = []
    for name in took(found, "body 1 MB"):
        texts = [
            text_of(median_of(found[name], cell, figure))
            for cell in ("body 1 MB", "body 20 MB")
            for figure in ("latency_p50", "cpu-ms/answer")
        ]
        rows.append([name, *texts, errors_of(found[name], "body 1 MB", "body 20 MB")])
    head = ["1 MB p50, ms", "CPU ms", "20 MB p50, ms", "CPU ms", "errors"]
    return Table(["program", *head], rows)


def start_table(found: Found) -> Table:
    """Return start and memory of each program."""
    rows = []
    for name, rounds in found.items():
        if name != DIRECT:
            figures = ("start", "start_cpu", "idle", "after")
            medians = [median(one.get(figure) for one in rounds) for figure in figures]
            rows.append([name, *map(text_of, medians)])
    head = ["seconds to the first 200", "CPU seconds", "PSS at rest, MB", "after all loads"]
    return Table(["program", *head], rows)


def errors_table(found: Found) -> Table:
    """Return each load which had errors, with the text of the first."""
    rows = []
    for name, rounds in found.items():
        cells = list(dict.fromkeys(cell for one in rounds for cell in one.get("cells", {})))
        for cell in cells:
            said = [one.get("cells", {}).get(cell, {}) for one in rounds]
            texts = [each["first_error"] for each in said if each.get("errors")]
            if texts:
                answers = sum(each.get("done", 0) for each in said)
                rows.append([name, cell, errors_of(rounds, cell), str(answers), quoted(texts[0])])
        rows += [
            [name, "start", "", "", quoted(one["failed"])] for one in rounds if "failed" in one
        ][:1]
    return Table(["program", "load", "errors", "answers", "the first error"], rows)


def quoted(error: str) -> str:
    """Return the start of an error on one line, as code: the status line of a reply, or its end."""
    line = " ".join(error.split("\r\n", 1)[0].split())
    return f"`{line[:90].replace('`', ' ')}`"


def charts(found: Found) -> list[tuple[str, str]]:
    """Return the charts as alternative text and SVG."""
    return [
        bars(
            found, "Whole answers passed on", "requests a CPU-second", "whole 64", "requests/cpu-s"
        ),
        bars(found, "Burst streams passed on", "CPU ms a stream", "burst 16", "cpu-ms/answer"),
        bars(
            found,
            "Chat to Messages and back",
            "requests a CPU-second",
            "chat whole 16",
            "requests/cpu-s",
        ),
        bars(
            found,
            "Burst streams, Chat to Messages and back",
            "CPU ms a stream",
            "chat burst 16",
            "cpu-ms/answer",
        ),
        lines(found, "Until the first token", "ms, median", "first_token_p50"),
        lines(found, "CPU for a token", "µs", "cpu-us/token"),
        memory_bars(found),
    ]


def bars(found: Found, title: str, unit: str, cell: str, figure: str) -> tuple[str, str]:
    medians = {name: median_of(found[name], cell, figure) for name in took(found, cell)}
    values = {name: value for name, value in medians.items() if value is not None}
    return f"{title}: {unit}", bar_chart(title, unit, values, log=True)


def lines(found: Found, title: str, unit: str, figure: str) -> tuple[str, str]:
    """Return a chart over the number of streams, without the loads of which a program finished
    less than half: what came of them is no fair part.
    """
    series = {}
    for name in took(found, "paced 64"):
        points = []
        for streams in STREAMS:
            done = median_of(found[name], f"paced {streams}", "done") or 0
            value = median_of(found[name], f"paced {streams}", figure)
            if value is not None and done >= streams / 2:
                points.append((float(streams), value))
        if points:
            series[name] = points
    chart = line_chart(title, "streams at once", unit, series, log_x=True, log_y=True)
    return f"{title} over the number of streams", chart


def memory_bars(found: Found) -> tuple[str, str]:
    values = {}
    for name, rounds in found.items():
        size = median(one.get("idle") for one in rounds)
        if size is not None:
            values[name] = size
    return "Memory at rest", bar_chart("Memory at rest", "MB (PSS), all processes", values)
