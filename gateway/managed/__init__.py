"""Managed agents at `/sdk/v1`: the vendor's agents, environments and sessions on the owner's own
machine.

Agents, environments, sessions and their events live in Redis, so any gateway serves any of them.
"""
