"""What this machine's kernel lets a test put apart."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence


def why_no_namespaces(*kinds: str, programs: Sequence[str]) -> str:
    """Return why a test cannot start a program in namespaces of its own; an empty text if it can.
    `kinds` are options of `unshare`; `programs` are needed beside it.
    """
    missing = [program for program in ("unshare", *programs) if not shutil.which(program)]
    if os.geteuid() != 0 or missing:
        return f"namespaces need root and {', '.join(missing or programs)}"
    tried = subprocess.run(["unshare", *kinds, "true"], capture_output=True, text=True, check=False)
    return f"this machine makes no namespaces: {tried.stderr}" if tried.returncode else ""
