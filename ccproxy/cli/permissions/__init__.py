"""Answering tools that ask for permission: in a terminal, unattended by rules, or from a script."""
