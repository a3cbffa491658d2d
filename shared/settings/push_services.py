"""The push services of browsers: the hosts that messages to subscribed browsers may be sent to.

A browser hands over the address of its push service, and this machine then posts to it. So an
address counts only on a host that a browser's maker runs, or that the owner has named: no page and
no token can turn the sender against a host inside the owner's network.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

from shared.settings.networks import is_loopback

# Chrome and the browsers made from it; Firefox; Safari; Edge on Windows.
PUSH_HOSTS = (
    "fcm.googleapis.com",
    "*.push.services.mozilla.com",
    "*.push.apple.com",
    "*.notify.windows.com",
)
HOST_PATTERN = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
# One character of a path or a query; anything else is no address that a browser makes.
PLAIN_ADDRESS = re.compile(r"[!-~]+")
PLAIN_HOST = re.compile(r"[a-z0-9.-]+|[0-9a-f:]+")  # read alike by every parser of addresses
MAX_ADDRESS = 2048
HTTPS_PORT = 443


def check_push_hosts(names: list[str]) -> list[str]:
    """Return `names` in lower case. Raises ValueError for a name other than a host, or `*.` and a
    host.
    """
    lowered = [name.lower() for name in names]
    for name in lowered:
        if not HOST_PATTERN.fullmatch(name):
            raise ValueError(f"{name!r} is no host name, as push.example.org or *.example.org")
    return lowered


def check_push_address(address: str, named_hosts: Iterable[str] = ()) -> str:
    """Return `address` if permitted for messages: https to a host of PUSH_HOSTS or of the owner's
    `named_hosts`. A named host may have any port, and http on loopback.

    Raises ValueError naming the problem, never the address, which is a secret.
    """
    if len(address) > MAX_ADDRESS or not PLAIN_ADDRESS.fullmatch(address) or "\\" in address:
        raise ValueError("expected the address of a push service")
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        raise ValueError("expected the address of a push service") from None
    if not PLAIN_HOST.fullmatch(host) or "@" in parts.netloc or "#" in address:
        raise ValueError("expected the address of a push service")
    if any(fnmatchcase(host, pattern) for pattern in named_hosts):
        if parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)):
            return address
    elif any(fnmatchcase(host, pattern) for pattern in PUSH_HOSTS):
        if parts.scheme == "https" and port in {None, HTTPS_PORT}:
            return address
    else:
        raise ValueError(
            f"{host!r} is no push service known here; name it in NOTIFY__PUSH_HOSTS if your "
            "browser uses it"
        )
    raise ValueError("the address of a push service is https")
