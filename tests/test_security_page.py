"""The pages about security and reliability promise nothing without a test: every test that they
name exists.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/security.md").read_text()
ROW = re.compile(r"^\| (?P<promise>[^|`]+?) \| (?P<tests>`tests/.*) \|$", re.MULTILINE)


def test_every_promise_of_the_page_names_a_test_that_exists() -> None:
    promises = {
        row["promise"]: re.findall(r"`([^`]+)`", row["tests"]) for row in ROW.finditer(PAGE)
    }
    assert len(promises) >= 25
    missing = [
        f"{promise}: {test}"
        for promise, tests in promises.items()
        for test in tests
        if not has_tests(test)
    ]
    assert not missing


def test_every_test_that_the_page_about_reliability_names_exists() -> None:
    named = re.findall(
        r"`(tests/[\w/]+\.py)::(test_\w+)`", (ROOT / "docs/reliability.md").read_text()
    )
    assert len(named) >= 8
    assert not [
        (file, test) for file, test in named if f"def {test}(" not in (ROOT / file).read_text()
    ]


def has_tests(path: str) -> bool:
    file = ROOT / path
    return file.is_file() and "def test_" in file.read_text()
