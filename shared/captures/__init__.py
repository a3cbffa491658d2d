"""Captured requests: their form on disk and in a bundle, and the removal of secrets from them."""
