"""`ccproxy phone`: a token for one phone, and the link that signs the phone in once.

The token's secret is shown to nobody: the gateway binds a pairing to it (`/permissions/pairings`),
and the link carries the pairing's secret alone. The token can answer permission requests and do
nothing else. To pair again replaces the token, which signs out the phone before.
"""

from __future__ import annotations

import io
import socket
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import segno

from ccproxy.cli.console import say
from ccproxy.cli.exits import DONE
from ccproxy.cli.found_stack import FoundStack, find_stack
from ccproxy.cli.gateway import checked, connection_to, requires_token
from ccproxy.cli.output import show_line, show_picture
from ccproxy.cli.owned_tokens import OwnedTokens, TokenRefused, checked_token, tokens_of_stack
from ccproxy.launcher.listening import EVERYWHERE, local_url
from shared.runtime.errors import CCProxyError
from shared.settings.networks import is_loopback
from shared.settings.security import Scope
from shared.settings.tree import Settings, load_settings

# Without `ask`: a token that may ask cannot set rules, and a phone has no need to ask.
SCOPES: tuple[Scope, ...] = ("approve",)
# An address of RFC 5737, which no network routes: it only chooses this machine's own address.
NOWHERE = ("192.0.2.1", 9)


class PhoneRefused(CCProxyError):
    """A phone cannot be paired as things are."""


def pair_phone(name: str, address: str | None) -> int:
    """Make or replace the token `name`, show the pairing link and its QR code, and return the exit
    code. `address` is where the phone reaches the gateway; unset, the settings tell.

    Raises PhoneRefused, TokenRefused, TokensUnusable and Unanswered.
    """
    settings = load_settings()
    stack = find_stack(settings)
    owned = tokens_of_stack(stack, settings)
    if not requires_token(stack):
        raise PhoneRefused(
            f"The stack at {stack.url} answers everybody without a token, and a phone needs one: "
            "run `ccproxy generate-token --save`, and start the stack again."
        )
    base = checked_address(address) if address else phone_address(settings, port_of(stack))
    link = f"{base}/pair#{pairing_secret(owned, stack, name)}"
    show_line(link)
    if sys.stdout.isatty():
        show_picture(qr_code(link))
    say("Open it on the phone within five minutes, and tap once. It signs in one browser, once.")
    say(f"`ccproxy token revoke {name}` signs the phone out.")
    if base.startswith("http:"):
        say("Without TLS everybody in this network can read what the phone sends and gets.")
    return DONE


def pairing_secret(owned: OwnedTokens, stack: FoundStack, name: str) -> str:
    """Make or replace the token `name` and return the secret of a pairing with it. Without a
    pairing there is no token either: nobody knows its secret.

    Raises TokenRefused, TokensUnusable and Unanswered.
    """
    token = token_of_phone(owned, name)
    try:
        with connection_to(FoundStack(stack.url, token, stack.found_by)) as client:
            return str(checked(client.post("/permissions/pairings", json={})).json()["secret"])
    except CCProxyError:
        owned.revoke(name)
        raise


def token_of_phone(owned: OwnedTokens, name: str) -> str:
    """Return the secret of a new token `name`, or the new secret of a phone's token. Raises
    TokenRefused for the name of another kind of token, TokensUnusable.
    """
    known = next((token for token in owned.file.read() if token.name == name), None)
    if known is None:
        return owned.add(checked_token({"name": name, "scopes": SCOPES, "created_at": time.time()}))
    if known.scopes != SCOPES:
        raise TokenRefused(
            f"The token {name!r} has the scopes {' '.join(known.scopes)} and is no phone's; choose "
            "another --name."
        )
    return owned.rotate(name)


def own_address() -> str:
    """Return the address of this machine in its network. Nothing is sent. Raises PhoneRefused
    without a network.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(NOWHERE)
            return str(probe.getsockname()[0])
    except OSError as error:
        raise PhoneRefused(
            "This machine has no address in a network; give the phone's way here with --address."
        ) from error


def phone_address(settings: Settings, port: int, machine: Callable[[], str] = own_address) -> str:
    """Return the address, without a path, under which a phone reaches the gateway: that of
    notifications, an allowed name behind TLS, else the address that the gateway listens on.

    Raises PhoneRefused for a gateway that other machines cannot reach.
    """
    if settings.notify.public_url is not None:
        return settings.notify.public_url.rstrip("/")
    for name in settings.security.allowed_hosts:
        if not is_loopback(name):
            return f"https://{name}"
    host = settings.server.host
    if is_loopback(host):
        raise PhoneRefused(
            f"The gateway listens on {host} only, where no phone reaches it. Put a reverse proxy "
            "with TLS in front and set SECURITY__ALLOWED_HOSTS to its name, or set SERVER__HOST to "
            "0.0.0.0 for your own Wi-Fi; or give the address with --address. "
            "docs/how-to/phone.md has the steps."
        )
    return local_url(machine() if host in EVERYWHERE else host, port)


def checked_address(address: str) -> str:
    """Return `address` without its last slash. Raises PhoneRefused unless it is an http address
    without a path.
    """
    parts = urlsplit(address)
    rest = parts.path.strip("/") or parts.query or parts.fragment
    if parts.scheme not in {"http", "https"} or not parts.hostname or rest:
        raise PhoneRefused(f"--address {address}: write it as https://home.example.org.")
    return address.rstrip("/")


def port_of(stack: FoundStack) -> int:
    """Return the port of the stack's address."""
    return urlsplit(stack.url).port or 80


def qr_code(link: str) -> str:
    """Return the QR code of `link` in half blocks, drawn as the light modules."""
    drawn = io.StringIO()
    segno.make_qr(link, error="l").terminal(drawn, compact=True)
    return drawn.getvalue().rstrip("\n")
