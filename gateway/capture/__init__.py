"""Capture: requests and replies with their bodies, kept only while the owner has switched it on."""
