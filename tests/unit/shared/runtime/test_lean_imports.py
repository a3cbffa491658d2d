"""Each program loads what it uses; what is loaded at its first use works."""

from __future__ import annotations

import subprocess
import sys

import pytest


def output_of(code: str) -> str:
    """Return what `code` prints in a new process."""
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    return ended.stdout


@pytest.mark.parametrize(
    ("program", "unused"),
    [
        ("analytics.process", "jwt.algorithms"),
        ("ccproxy.cli.gateway", "rich"),
        ("ccproxy.launcher.listener", "_ssl"),
        ("ccproxy.launcher.supervision", "_ssl"),
        ("ccproxy.launcher.supervision", "asyncio"),
        ("gateway.server.process", "jwt.algorithms"),
        ("permission_service.process", "jwt.algorithms"),
        ("sdk_worker.process", "jwt.algorithms"),
    ],
)
def test_a_program_loads_no_library_that_it_never_uses(program: str, unused: str) -> None:
    assert output_of(f"import sys, {program}; print({unused!r} in sys.modules)") == "False\n"


def test_a_module_loads_whole_at_its_first_use() -> None:
    use = "jwt.encode({'a': 1}, 'k' * 32, algorithm='HS256')"
    assert output_of(f"import shared, jwt; print({use}.count('.'))") == "2\n"
    assert output_of("import shared, ssl; print(ssl.create_default_context().verify_mode)") == "2\n"


def test_a_part_of_a_package_that_is_imported_first_is_the_part_of_the_whole() -> None:
    code = "import shared; from jwt.exceptions import DecodeError; import jwt"
    assert output_of(f"{code}; print(jwt.DecodeError is DecodeError)") == "True\n"


def test_a_library_does_without_its_absent_part() -> None:
    assert output_of("import shared, httpx; print(httpx.Client().timeout.read)") == "5.0\n"


def test_a_module_that_is_loaded_already_or_not_installed_is_left_alone() -> None:
    code = """
import ssl, sys
import shared
from shared.runtime.lean_imports import import_at_first_use
import_at_first_use("nowhere_installed")
print(ssl is sys.modules["ssl"], "nowhere_installed" in sys.modules)
"""
    assert output_of(code) == "True False\n"
