"""Compile what our programs load; a step of the Dockerfile, run as root.

A container's root file system is read-only, so it cannot keep what it compiles, and without this
step every start and every health check would compile all its modules again, those of the standard
library among them. Compiling whole packages would cost twice the space.
"""

from __future__ import annotations

import importlib
import sys

MODULES = (
    "analytics.process",
    "ccproxy.launcher.alive",
    "ccproxy.cli.auth",
    "ccproxy.cli.app",
    "ccproxy.cli.start",
    "ccproxy.cli.statusline",
    "ccproxy.cli.doctor",
    "ccproxy.launcher.launch",
    "ccproxy.launcher.listener",
    "ccproxy.cli.logs",
    "ccproxy.cli.status",
    "ccproxy.launcher.supervision",
    "gateway.server.process",
    "permission_service.process",
    "sdk_worker.process",
    "simulator.process",
)

sys.dont_write_bytecode = False  # the image's environment says otherwise, for the programs
for module in MODULES:
    importlib.import_module(module)
# Loaded at its first use (shared/runtime/lean_imports.py); to compile its tables takes 1.6 s and
# 76 MB of memory.
importlib.import_module("genai_prices").data_snapshot.get_snapshot()
