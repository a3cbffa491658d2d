"""The files of a patch are found; added and removed lines are not taken for them."""

from __future__ import annotations

from typing import Any

import pytest

from shared.bus.channels import PermissionRequest
from shared.permissions.patches import patched_files
from shared.permissions.protected import ProtectedPath, ProtectedPaths
from shared.permissions.rules import Rule, judge

PATCH = """*** Begin Patch
*** Update File: src/app.py
*** Move to: src/main.py
@@ def run
-*** Delete File: kept.py
+*** Add File: fake.py
 *** Update File
*** Add File: /etc/cron.d/x\r
+hello
*** Delete File:   notes with blanks.md
*** End Patch"""


def request(patch: str) -> PermissionRequest:
    return PermissionRequest("r", "apply_patch", {"command": patch}, working_directory="/u/w")


def test_each_file_is_found_once() -> None:
    assert patched_files({"command": PATCH + "\n" + PATCH}) == [
        "src/app.py",
        "src/main.py",
        "/etc/cron.d/x",
        "notes with blanks.md",
    ]
    assert patched_files({"command": "  *** Add File: x"}) == ["x"]


@pytest.mark.parametrize("given", [{}, {"command": 5}, {"command": ""}])
def test_an_input_without_a_patch_names_no_file(given: dict[str, Any]) -> None:
    assert patched_files(given) == []


def test_a_protected_file_in_a_patch_is_denied() -> None:
    paths = ProtectedPaths([ProtectedPath("/u/w/.env", "secret")], home="/u")
    reason = paths.touched_by(request("*** Begin Patch\n*** Update File: .env\n+x\n*** End Patch"))
    assert reason is not None
    assert "/u/w/.env is protected" in reason
    assert paths.touched_by(request(PATCH)) is None


def test_rules_for_folders_deny_a_patch_and_never_allow_one() -> None:
    deny = Rule(effect="deny", tool="*", under="/etc")
    assert judge(request(PATCH), [deny]).outcome == "deny"
    inside = request("*** Begin Patch\n*** Update File: a.py\n+x\n*** End Patch")
    assert judge(inside, [Rule(tool="apply_patch", under="/u/w")]).outcome == "ask"
    assert judge(inside, [Rule(tool="apply_patch")]).outcome == "allow"
