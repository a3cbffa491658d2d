"""The file that a tool call would change, read before anybody is asked, so that a person sees the
change in its place.

Only this machine sees the file as the tool will. The text is bounded and goes nowhere but into the
presentation of the permission request. The caller makes sure that the file is not protected: nobody
needs to see a login to deny a call.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from shared.bus.channels import FileBefore
from shared.permissions.tools import FILE_WRITERS

MAX_BYTES = 262_144


def read_file_before(
    tool_name: str, given: dict[str, Any], working_directory: str
) -> FileBefore | None:
    """Return the file that a call with the input `given` would change; None when the call changes
    no known file.

    Never raises: an unreadable file is returned without a text, with the reason in `unread`.
    """
    named = given.get(FILE_WRITERS.get(tool_name, ""))
    if not isinstance(named, str) or not named or "\0" in named:
        return None
    path = os.path.join(working_directory, named)
    if not os.path.isabs(path):
        return None
    try:
        return _read(path)
    except FileNotFoundError:
        return FileBefore(path, exists=False)
    except (OSError, UnicodeEncodeError) as error:
        reason = getattr(error, "strerror", None) or "its name is not valid"
        return FileBefore(path, exists=True, unread=reason[:1].lower() + reason[1:])


def _read(path: str) -> FileBefore:
    """Raises OSError."""
    # A pipe or a device would block the reader or never end, so the kind is looked at before the
    # file is opened.
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        return FileBefore(path, exists=True, unread="it is no regular file")
    if found.st_size > MAX_BYTES:
        return FileBefore(path, exists=True, unread=f"it is longer than {MAX_BYTES // 1024} KB")
    with Path(path).open("rb") as file:
        # The file may have grown since its size was read: one byte too many shows that.
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        return FileBefore(path, exists=True, unread=f"it is longer than {MAX_BYTES // 1024} KB")
    try:
        return FileBefore(path, exists=True, text=data.decode())
    except UnicodeDecodeError:
        return FileBefore(path, exists=True, unread="it is no text in UTF-8")
