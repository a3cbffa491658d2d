"""A call of the local shell is its `action`."""

from __future__ import annotations

from shared.formats.responses.local_shell import shell_action


def test_arguments_that_are_no_action_are_a_command():
    assert shell_action("ls -l") == {"type": "exec", "env": {}, "command": ["ls -l"]}
