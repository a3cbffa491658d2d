"""The page docs/reliability.md: prose by hand, and between two marks the table that `make faults`
writes.
"""

from __future__ import annotations

from pathlib import Path

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
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = "".join(f"{row.markdown()}\n" for row in table.rows)
    PAGE.write_text(f"{before}{BEGIN}\n\n{HEAD}{lines}\n{END}{after}")
