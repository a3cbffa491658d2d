"""The fixtures of tests/e2e/conftest.py, for stacks to which something happens."""

from __future__ import annotations

from tests.e2e.conftest import _homes, simulator_url, start_plain, start_stack

__all__ = ["_homes", "simulator_url", "start_plain", "start_stack"]
