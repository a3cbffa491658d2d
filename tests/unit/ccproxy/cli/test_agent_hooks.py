"""Hooks in an agent's settings: ours are added once and removed whole, all others stay as they are."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import tomlkit

from ccproxy.cli.agent_hooks import (
    HookAccess,
    access_in,
    add_hooks,
    claude_hooks,
    codex_hooks,
    is_ours,
    our_hooks,
    remove_hooks,
)
from shared.settings.problems import ConfigurationError

ACCESS = HookAccess("http://127.0.0.1:8000", "secret", "laptop")
OTHERS: dict[str, Any] = {
    "model": "opus",
    "hooks": {
        "Stop": [{"matcher": "", "hooks": [{"type": "command", "command": "say done"}]}],
        "PreToolUse": [
            {"hooks": [{"type": "http", "url": "http://127.0.0.1:9/hooks/other"}]},
        ],
    },
}


@pytest.mark.parametrize("settings", [{}, {"model": "opus"}, OTHERS])
def test_hooks_are_added_once_and_removed_without_a_trace(settings: dict[str, Any]) -> None:
    before = copy.deepcopy(settings)
    changed = copy.deepcopy(settings)
    add_hooks(changed, claude_hooks(ACCESS))
    once = copy.deepcopy(changed)
    add_hooks(changed, claude_hooks(ACCESS))
    assert changed == once
    assert access_in(changed) == ACCESS
    assert remove_hooks(changed)
    assert changed == before
    assert not remove_hooks(changed)


def test_another_address_replaces_the_one_before() -> None:
    settings = copy.deepcopy(OTHERS)
    add_hooks(settings, claude_hooks(ACCESS))
    add_hooks(settings, claude_hooks(HookAccess("https://home.example", "", "laptop")))
    urls = {hook["url"] for *_, hook in our_hooks(settings)}
    assert urls == {
        "https://home.example/hooks/permission-request",
        "https://home.example/hooks/notice",
    }
    assert access_in(settings) == HookAccess("https://home.example", "", "laptop")


def test_a_hook_of_the_user_in_the_group_of_ours_stays() -> None:
    settings: dict[str, Any] = {}
    add_hooks(settings, claude_hooks(ACCESS))
    mine = {"type": "command", "command": "say permission"}
    settings["hooks"]["PermissionRequest"][0]["hooks"].append(mine)
    remove_hooks(settings)
    assert settings == {"hooks": {"PermissionRequest": [{"hooks": [mine]}]}}


def test_the_hooks_of_codex_go_into_toml_beside_its_trust() -> None:
    text = (
        '# mine\n[hooks.state."/x:stop:0:0"]\ntrusted_hash = "sha256:1"\n'
        '[[hooks.Stop]]\n[[hooks.Stop.hooks]]\ntype = "command"\ncommand = "say done"\n'
    )
    document = tomlkit.parse(text)
    add_hooks(document, codex_hooks(Path("/opt/bin dir/ccproxy")))
    written = tomlkit.parse(tomlkit.dumps(document))
    found = [(event, group, inner) for event, group, inner, _ in our_hooks(written)]
    assert sorted(found) == [("PermissionRequest", 0, 0), ("Stop", 1, 0)]
    assert "# mine" in tomlkit.dumps(document)
    assert remove_hooks(written)
    assert written.unwrap() == tomlkit.parse(text).unwrap()


@pytest.mark.parametrize("hooks", [[], "x", {"Stop": "x"}])
def test_hooks_of_another_shape_are_refused(hooks: Any) -> None:
    with pytest.raises(ConfigurationError, match="hooks"):
        add_hooks({"hooks": hooks}, claude_hooks(ACCESS))


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        ({"type": "command", "command": "/usr/bin/ccproxy hook codex"}, True),
        ({"type": "command", "command": "ccproxy hook claude"}, True),
        ({"type": "command", "command": "ccproxy hooks status"}, False),
        ({"type": "command", "command": "echo; ccproxy hook codex"}, False),
        ({"type": "http", "url": "https://x/base/hooks/notice"}, True),
        ({"type": "http", "url": "https://x/notice"}, False),
        ("text", False),
    ],
)
def test_a_hook_is_ours_by_its_address_or_command(hook: Any, expected: bool) -> None:
    assert is_ours(hook) is expected
