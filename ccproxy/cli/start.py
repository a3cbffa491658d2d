"""The start of the command line.

`ccproxy usage --statusline`, which other programs run every few seconds, is answered here where it
can be: to load the library of the command line takes most of its time. Every other command goes on
to `ccproxy/cli/app.py`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ccproxy.cli.exits import DONE, FAILED

STATUSLINE = ["usage", "--statusline"]


def main() -> None:
    """Run the command line."""
    if sys.argv[1:] == STATUSLINE:
        from ccproxy.cli.statusline import quick_statusline  # noqa: PLC0415

        line = quick_statusline(os.environ, Path.cwd())
        if line is not None:
            sys.stdout.write(f"{line}\n" if line else "")
            raise SystemExit(DONE if line else FAILED)
    from ccproxy.cli.app import main as run_command  # noqa: PLC0415

    run_command()
