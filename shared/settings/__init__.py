"""The settings: one tree, the sources of every value, and the trust in the files that
set a value.
"""
