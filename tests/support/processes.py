"""Processes as a test reads them: one that ends while it is read has no name and no command line.

psutil raises for a process that has ended, a zombie included. A worker replaces its programs while
a test looks at them, so a test that walks over processes uses these functions.
"""

from __future__ import annotations

import psutil


def command_line(process: psutil.Process) -> list[str]:
    """Return the arguments of `process`, or none if the process has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def process_name(process: psutil.Process) -> str:
    """Return the name of `process`, or nothing if the process has ended."""
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def running_programs(parent: psutil.Process, name: str) -> list[list[str]]:
    """Return the command lines of the live descendants of `parent` that are called `name`."""
    named = [child for child in parent.children(recursive=True) if process_name(child) == name]
    command_lines = [command_line(child) for child in named]
    return [arguments for arguments in command_lines if arguments]
