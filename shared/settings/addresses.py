"""Addresses in settings: where a provider answers, and what may be shown of an address.

Credentials go to `https` addresses, to `http` on loopback, and to `http` hosts that the owner has
named in SECURITY__PROVIDER_HOSTS (a container's internal network), and nowhere else.
"""

from __future__ import annotations

import re
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

from shared.settings.networks import is_loopback

USER_INFO = re.compile(r"(?<=://)[^/?#\s]*@")
NO_ADDRESS = re.compile(r"[\s\x00-\x1f\x7f\\]")


def check_provider_url(url: str) -> str:
    """Return `url` if a provider may have this address. Raises ValueError naming the problem, never
    the value.
    """
    try:
        parts: SplitResult = urlsplit(url)
        host = parts.hostname
        _ = parts.port
    except ValueError:
        raise ValueError("expected an address as https://host or https://host:port/path") from None
    if parts.scheme not in {"https", "http"} or not host or NO_ADDRESS.search(url):
        raise ValueError("expected an address as https://host or https://host:port/path")
    if "@" in parts.netloc:
        raise ValueError(
            "a user name or password in this address is not used; remove the part before the @"
        )
    if parts.query or parts.fragment:
        raise ValueError(
            "an address has neither a query nor a fragment; remove the part from ? or # on"
        )
    return url


ProviderUrl = Annotated[str, AfterValidator(check_provider_url)]


def host_of_address(url: str) -> str:
    """Return the host of a valid address, in lower case."""
    return urlsplit(url).hostname or ""


def is_readable_on_the_way(url: str, named_hosts: list[str]) -> bool:
    """Return True if requests to `url` can be read on the way: `http` beyond loopback to a host
    that is missing in the owner's `named_hosts`.
    """
    host = host_of_address(url)
    return (
        urlsplit(url).scheme == "http"
        and not is_loopback(host)
        and host not in {name.lower() for name in named_hosts}
    )


def without_user_info(text: str) -> str:
    """Return `text` with the user name and password of every contained address masked."""
    return USER_INFO.sub("****@", text)
