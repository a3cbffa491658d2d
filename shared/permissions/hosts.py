"""Hosts of addresses. A host is plain when every reader of URLs finds the same one; any other is
left to a person.

Browsers and Claude Code read URLs as WHATWG describes: full-width letters, escapes, octal numbers
and missing parts all become plain names there. Such an address is not read here at all, instead of
being read a second way.
"""

from __future__ import annotations

import ipaddress
import re

# The whole beginning of a plain address: no user, no escapes, no backslash, a port of digits.
PLAIN_URL = re.compile(
    r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?=[/?#]|\Z)", re.IGNORECASE
)
# White space and control characters anywhere in an address are removed by some readers.
UNCLEAR = re.compile(r"[\s\\\x00-\x20\x7f-\x9f]")
LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
LONGEST_NAME = 253  # RFC 1035


def plain_host(name: str) -> str | None:
    """Return the host in lower case without a final dot; None when readers could find different
    hosts in it.
    """
    host = name.lower().removesuffix(".")
    if host.startswith("[") or ":" in host:
        return _plain_address(host.strip("[]"), 6)
    labels = host.split(".")
    if len(host) > LONGEST_NAME or not all(LABEL.fullmatch(label) for label in labels):
        return None
    # WHATWG reads a name whose last label is a number, also a hexadecimal one, as an IPv4 address.
    if labels[-1].isdigit() or re.fullmatch(r"0x[0-9a-f]*", labels[-1]):
        return _plain_address(host, 4)
    return host


def _plain_address(text: str, version: int) -> str | None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version != version or (
        address.version == 6 and (address.ipv4_mapped or address.sixtofour)
    ):
        return None
    return str(address)


def host_of(url: object) -> str | None:
    """Return the plain host of an http or https address; None for any address that is not plain."""
    if not isinstance(url, str) or UNCLEAR.search(url):
        return None
    found = PLAIN_URL.match(url)
    return plain_host(found.group(1)) if found else None


def host_fits(host: str, wanted: str) -> bool:
    """Return True when a plain host is `wanted`, or below it when `wanted` is `*.name`. Both in
    lower case.
    """
    return host.endswith(wanted[1:]) if wanted.startswith("*.") else host == wanted


def may_be_same_host(host: str, wanted: str) -> bool:
    """Return True when two different plain names may still be the same machine: a loopback name and
    its address.
    """
    return _is_loopback(host) and _is_loopback(wanted.removeprefix("*."))


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
