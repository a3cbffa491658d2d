"""The owner's own logins and keys: found where the official programs keep them, never shown, never
deleted.
"""
