"""The command line and the launcher. Starts services by name, imports none of them."""

__version__ = "0.1.0"
