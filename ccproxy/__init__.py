"""The command line and the launcher. Starts services by name, imports none of them."""

import shared  # noqa: F401 - before the libraries of this package, which it keeps lean
