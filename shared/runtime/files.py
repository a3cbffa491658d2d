"""Files of ours that hold a secret: replaced whole, readable by their owner alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_private(path: Path, text: str) -> None:
    """Replace `path` with `text` by rename, mode 0600; a link's target is replaced, not the link.

    Missing directories are made. Raises OSError, and then leaves the file as it was.
    """
    # A rename onto a link would replace the link; the target is what other programs share.
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    # The draft lies beside its target, because a rename is one step only within a file system.
    # `mkstemp` makes it with mode 0600 and a name that no draft left by a killed process has.
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    draft = Path(name)
    try:
        with open(descriptor, "w") as file:
            file.write(text)
            # Without it a power cut after the rename could leave the new name with an empty file.
            file.flush()
            os.fsync(descriptor)
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
