"""The commands of `ccproxy`."""
