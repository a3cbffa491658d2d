"""The page docs/reliability.md: prose by hand, and between two marks the table that `make faults`
writes.
"""

from __future__ import annotations

from pathlib import Path

from docs.markup import replace_part
from tests.faults.cells import Table

PAGE = Path(__file__).parents[2] / "docs/reliability.md"
BEGIN = "<!-- written by make faults -->"
END = "<!-- end of what make faults writes -->"
HEAD = (
    "| what happened | what clients saw | records lost | whole again after |\n| --- | --- | --- | "
    "--- |\n"
)


def write_table(table: Table) -> None:
    """Put the table of this run in the place of the one before."""
    lines = "".join(f"{row.markdown()}\n" for row in table.rows)
    PAGE.write_text(replace_part(PAGE.read_text(), BEGIN, END, f"\n\n{HEAD}{lines}\n"))
