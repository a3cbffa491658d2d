"""The only room that starts `claude`: takes a turn from the bus, drives one process, publishes
Anthropic frames.
"""
