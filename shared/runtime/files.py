"""Files of ours that hold a secret: replaced whole, readable by their owner alone."""

from __future__ import annotations

import os
from pathlib import Path


def replace_private(path: Path, text: str) -> None:
    """Replace `path` with `text` by rename, mode 0600; a link's target is replaced, not the link.

    Missing directories are made. Raises OSError, and then leaves the file as it was.
    """
    # A rename onto a link would replace the link; the target is what other programs share.
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    # The draft lies beside its target, because a rename is one step only within a file system.
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    # The mode is given when the file is made: a chmod after the write would leave a moment in which
    # others can read the secret.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(descriptor, "w") as file:
            file.write(text)
        draft.replace(target)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
