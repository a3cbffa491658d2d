"""The release of the product, and the product's name in headers.

The number stands here alone: the build reads this file, so a copied tree and an installed package
report the same release.
"""

from __future__ import annotations

# The local part keeps a public index from accepting this release, and from having the same one.
VERSION = "0.3.0+local"

USER_AGENT = f"ccproxy/{VERSION}"
