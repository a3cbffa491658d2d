"""The line of `ccproxy usage --statusline`, which another program prints many times a minute.

With one running stack and no setting here that could name another, the stack is the one that every
command would find (ccproxy/cli/found_stack.py), and the settings are not read: reading them takes
most of a command's time. Every other case goes the way of all commands. This module imports little.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ccproxy.cli.figures import clock, dollars
from ccproxy.launcher.stacks import RunningStack, running_stacks
from shared.runtime.visible_text import visible_line

HTTP_PORT = 80
ANSWER_SECONDS = 2.0  # a status line waits for nobody
# The beginnings of variables that may name a stack, or a file that does.
NAMING = ("SERVER__", "CONFIG_FILE", "CCPROXY_STACK_")
FOLDER_FILES = (".env", ".ccproxy.toml", "ccproxy.toml")

Facts = dict[str, Any]


def quick_statusline(environment: Mapping[str, str], folder: Path) -> str | None:
    """Return the windows and the cost of the last 24 hours as one short line: of the only running
    stack, empty if it does not answer. Return None if the settings may name another.
    """
    stack = only_stack(environment, folder)
    if stack is None:
        return None
    try:
        return visible_line(statusline(ask_usage(stack), time.time()))
    except (OSError, ValueError):
        return ""


def only_stack(environment: Mapping[str, str], folder: Path) -> RunningStack | None:
    """Return the only running stack if `environment` and the files of `folder` cannot name another;
    None in every other case.
    """
    if any(name.upper().startswith(NAMING) for name in environment):
        return None
    if any((folder / name).exists() for name in FOLDER_FILES):
        return None
    stacks = running_stacks()
    return stacks[0] if len(stacks) == 1 else None


def ask_usage(stack: RunningStack) -> Facts:
    """Return the usage that `stack` answers. Raises OSError or ValueError.

    The question is HTTP/1.0, whose answer ends with the connection: the standard library's client
    takes as long to load as all the rest.
    """
    address = urlsplit(stack.url)
    question = f"GET /usage HTTP/1.0\r\nhost: {address.netloc}\r\nx-api-key: {stack.token}\r\n\r\n"
    place = (address.hostname or "", address.port or HTTP_PORT)
    with socket.create_connection(place, timeout=ANSWER_SECONDS) as connection:
        connection.sendall(question.encode())
        with connection.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        raise ValueError(head.partition(b"\r\n")[0].decode("latin-1"))
    usage: Facts = json.loads(body)
    return usage


def statusline(usage: Facts, now: float) -> str:
    """Return the line for an answer of `/usage`, as `claude 5h 42% 13:00 · $1.50 in 24 h`."""
    parts = [
        f"{quota['provider']} {window['window']} {window['used_percent']:.0f}% "
        f"{clock(window['resets_at'], now)}"
        for quota in usage["quota"]
        for window in quota["windows"]
        if window["resets_at"] > now
    ]
    if not usage["problem"]:
        cost = sum(row["cost_usd"] for row in usage["spent"] if row["span"] == "24h")
        parts.append(f"{dollars(cost)} in 24 h")
    return " · ".join(parts)
