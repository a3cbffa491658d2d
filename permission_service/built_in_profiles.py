"""The profiles that come with the service: starting points, of which none is in force by itself.

A profile of the same name in the owner's rules file takes the place of one of these.
"""

from __future__ import annotations

from shared.permissions.rules_text import RuleProfile, read_rules_text

# In the form of a rules file, because `ccproxy permissions profile copy` writes it there.
PROFILE_TEXTS = {
    "coding": """\
[profiles.coding]
about = "Work in a project: edits inside the working folder go on, a push is asked about."
accept_edits = true

[[profiles.coding.rules]]
tool = "Bash"
command_prefix = "git status"

[[profiles.coding.rules]]
tool = "WebSearch"

[[profiles.coding.rules]]
effect = "ask"
tool = "Bash"
command_prefix = "git push"
""",
    "read-only": """\
[profiles.read-only]
about = "Look and change nothing: no edits, no commands, no tools of MCP servers."

[[profiles.read-only.rules]]
effect = "deny"
tool = "Write"

[[profiles.read-only.rules]]
effect = "deny"
tool = "Edit"

[[profiles.read-only.rules]]
effect = "deny"
tool = "MultiEdit"

[[profiles.read-only.rules]]
effect = "deny"
tool = "NotebookEdit"

[[profiles.read-only.rules]]
effect = "deny"
tool = "apply_patch"

[[profiles.read-only.rules]]
effect = "deny"
tool = "Bash"

[[profiles.read-only.rules]]
effect = "deny"
tool = "mcp__*"
""",
    "night": """\
[profiles.night]
about = "Nobody is awake: edits inside the working folder go on, nothing is sent out."
accept_edits = true

[[profiles.night.rules]]
effect = "deny"
tool = "Bash"
command_prefix = "git push"

[[profiles.night.rules]]
effect = "deny"
tool = "Bash"
command_prefix = "ssh"

[[profiles.night.rules]]
effect = "deny"
tool = "Bash"
command_prefix = "curl"

[[profiles.night.rules]]
effect = "deny"
tool = "Bash"
command_prefix = "sudo"

[[profiles.night.rules]]
effect = "deny"
tool = "WebFetch"
""",
}


def built_in_profiles() -> dict[str, RuleProfile]:
    """Return the built-in profiles by name."""
    return {name: read_rules_text(text).profiles[name] for name, text in PROFILE_TEXTS.items()}
