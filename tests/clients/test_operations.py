"""Every operation that `/openapi.json` describes, tried by schemathesis against the whole stack: no
request that schemathesis makes is a failure of ours.

`tests/contract/test_openapi_operations.py` asks the same of chosen odd values in every run of the
suite. Left out here: streams without an end, questions that wait for a person, and the turns of
`/sdk`, each of which starts a program (`test_typed_bodies.py` tries their bodies).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ccproxy.launcher.programs import find_script
from tests.clients.conftest import TOKEN
from tests.clients.environments import Unreachable, programs_of, read_pins
from tests.support.stack import Stack, simulated, stacks

SLOW = r"/stream$|^/mcp/permission/check$|^/hooks/|^/sdk/.*(messages|completions|responses)$"


@pytest.fixture
def quick_stack(_homes: Callable[[], Path], _providers: str) -> Iterator[Stack]:
    """Yield a stack where nobody answers: what waits for a person ends after a second."""
    settings = simulated(_providers) | {
        "SECURITY__AUTH_TOKEN": TOKEN,
        "SECURITY__CONFIRMATION_TIMEOUT_SECONDS": "1",
        "SDK__FIRST_BYTE_TIMEOUT_SECONDS": "20",
    }
    for start in stacks(find_script("ccproxy"), _homes, settings):
        yield start().wait_ready()


@pytest.mark.conformance
@pytest.mark.timeout(900)
def test_schemathesis_finds_no_server_error_in_any_operation(quick_stack: Stack) -> None:
    try:
        programs = programs_of(read_pins("schemathesis"))
    except Unreachable as error:
        pytest.skip(f"schemathesis could not be installed: {error}")
    trial = subprocess.run(
        [
            programs / "st",
            "run",
            f"{quick_stack.url}/openapi.json",
            "--header",
            f"x-api-key: {TOKEN}",
            "--checks",
            "not_a_server_error",
            "--exclude-path-regex",
            SLOW,
            "--max-examples",
            os.environ.get("OPERATION_EXAMPLES", "20"),
            "--seed",
            "1",
            "--request-timeout",
            "60",
            "--continue-on-failure",
            "--no-color",
        ],
        capture_output=True,
        check=False,
        text=True,
    )
    assert trial.returncode == 0, trial.stdout[-6000:] + trial.stderr[-2000:]
