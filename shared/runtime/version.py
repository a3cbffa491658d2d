"""The release of the product, and the product's name in headers."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("ccproxy-api")
except PackageNotFoundError:  # a tree that was copied, not installed
    VERSION = "0.0.0"

USER_AGENT = f"ccproxy/{VERSION}"
