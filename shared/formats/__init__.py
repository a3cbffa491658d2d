"""The formats that clients and providers speak, translated by pure functions; `registry.py` names
them all.

The package itself imports nothing: a process that only reads JSON or events loads no translation.
"""
