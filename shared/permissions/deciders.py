"""The names that a decision bears in `decided_by` when no person with a token of their own made it.

Invariant: no token can have one of these names, so a decision's maker is never in doubt.
"""

from __future__ import annotations

BY_OWNER = "owner"  # whoever holds `SECURITY__AUTH_TOKEN`
BY_LOCAL = "local"  # somebody on this machine, while loopback is trusted
BY_PROTECTION = "protection"
BY_RULE = "rule"
BY_BUILT_IN = "built_in"
BY_BYPASS = "bypass"
BY_NO_WATCHER = "no_watcher"
BY_PRESENCE = "at_desk"
BY_RULES_FILE = "rules_file"  # the owner changed the rules file by hand
BY_LIMIT = "limit"  # a caller had too many open requests, or a request was too large

# those that decide by what is written down, so that trying the rules again can repeat them
BY_WHAT_IS_WRITTEN = frozenset({BY_RULE, BY_BUILT_IN, BY_PROTECTION, BY_BYPASS})

RESERVED_NAMES = (
    BY_OWNER,
    BY_LOCAL,
    BY_PROTECTION,
    BY_RULE,
    BY_BUILT_IN,
    BY_BYPASS,
    BY_NO_WATCHER,
    BY_PRESENCE,
    BY_RULES_FILE,
    BY_LIMIT,
)
