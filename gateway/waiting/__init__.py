"""Requests that wait in front of a provider: until a limit is reset, and for a free place."""
