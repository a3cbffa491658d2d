"""Strict stand-ins for the providers: they refuse what the real ones refuse, so nothing passes here that fails there."""
