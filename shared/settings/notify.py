"""The settings of notifications: the ways that reach the owner's phone, and how much leaves this
machine by them.

A way is on once its topic or address is set; browsers get messages once they have subscribed. The
whole section is guarded: a file that an agent may write must not choose who hears of permission
requests.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, model_validator

from shared.runtime.times import is_daily_window
from shared.settings.addresses import check_provider_url
from shared.settings.guarded import GUARDED
from shared.settings.providers import Section
from shared.settings.push_services import check_push_hosts

AlertKind = Literal["quota", "provider", "login", "budget", "billing"]

SECRET_PREFIX = "whsec_"  # of secrets in the Standard Webhooks specification
TOPIC = re.compile(r"[-_A-Za-z0-9]{1,64}")
CONTACT = re.compile(r"(mailto:[^\s@]+@|https://)[^\s@/]+[^\s]*")
MIN_SECRET_BYTES = 24  # the least that Standard Webhooks allows


def check_plain_address(url: str) -> str:
    """Return `url` if it is an address without a query. Raises ValueError."""
    # A function of its own: `check_provider_url` on a field marks the address of a provider.
    return check_provider_url(url).rstrip("/")


def check_public_url(url: str | None) -> str | None:
    """Return `url` if it is an address without a query, or None. Raises ValueError."""
    return None if url is None else check_plain_address(url)


def check_secret_address(url: SecretStr | None) -> SecretStr | None:
    """Return `url` if valid as an address; a query is allowed, as receivers put keys into queries.
    Raises ValueError.
    """
    if url is not None:
        check_provider_url(url.get_secret_value().partition("?")[0])
    return url


def check_topic(topic: SecretStr | None) -> SecretStr | None:
    """Return `topic` if ntfy takes the name, or None. Raises ValueError."""
    if topic is not None and not TOPIC.fullmatch(topic.get_secret_value()):
        raise ValueError("expected up to 64 letters, digits, dashes and underscores")
    return topic


def check_window(window: str) -> str:
    """Return `window`, two times of a day, or an empty text. Raises ValueError."""
    if window and not is_daily_window(window):
        raise ValueError("expected two times of a day, as 22:00-07:00")
    return window


def secret_bytes(secret: str) -> bytes:
    """Return the key in a secret of Standard Webhooks: `whsec_` and base64. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or len(key) < MIN_SECRET_BYTES:
        raise ValueError(
            f"expected {SECRET_PREFIX} and at least {MIN_SECRET_BYTES} random bytes in base64; "
            "`openssl rand -base64 32` makes them"
        )
    return key


def check_secret(secret: SecretStr | None) -> SecretStr | None:
    """Return `secret` if it is a secret of Standard Webhooks, or None. Raises ValueError."""
    if secret is not None:
        secret_bytes(secret.get_secret_value())
    return secret


def check_contact(contact: str) -> str:
    """Return `contact`, an address as VAPID takes it, or an empty text. Raises ValueError."""
    if contact and not CONTACT.fullmatch(contact):
        raise ValueError("expected mailto:you@example.org, or an https address")
    return contact


class NotifySettings(Section):
    """Notifications to your phone; off until a topic or an address is set, or a browser has
    subscribed.
    """

    model_config = ConfigDict(json_schema_extra=GUARDED)

    ntfy_topic: Annotated[SecretStr | None, AfterValidator(check_topic)] = Field(
        None,
        description="The ntfy topic that your phone subscribes to. Anybody who knows the topic of "
        "an open server can read it and press its buttons.",
    )
    ntfy_url: Annotated[str, AfterValidator(check_plain_address)] = Field(
        "https://ntfy.sh", description="The ntfy server."
    )
    ntfy_token: SecretStr | None = Field(
        None, description="Access token of the ntfy server, if the topic is protected."
    )
    webhook_url: Annotated[SecretStr | None, AfterValidator(check_secret_address)] = Field(
        None, description="Address that gets every event as a signed POST."
    )
    webhook_secret: Annotated[SecretStr | None, AfterValidator(check_secret)] = Field(
        None,
        description="Key of the signatures, as in Standard Webhooks: `whsec_` and at least 24 "
        "bytes in base64.",
    )
    public_url: Annotated[str | None, AfterValidator(check_public_url)] = Field(
        None,
        description="The address of the gateway as your phone reaches it; without it messages "
        "have no buttons.",
    )
    web_push: bool = Field(
        True, description="Let signed-in browsers subscribe to messages, at /permissions/ui."
    )
    push_hosts: Annotated[list[str], AfterValidator(check_push_hosts)] = Field(
        default_factory=list,
        description="Hosts of more push services, as `push.example.org` or `*.example.org`, beside "
        "those of Chrome, Firefox, Safari and Edge.",
    )
    push_contact: Annotated[str, AfterValidator(check_contact)] = Field(
        "",
        description="How a push service reaches you, `mailto:` or https; unset: `public_url`, or "
        "the https address at which the browser subscribed.",
    )
    details: bool = Field(
        False, description="Send commands, paths and texts too, not only who asks for which tool."
    )
    quiet_hours: Annotated[str, AfterValidator(check_window)] = Field(
        "",
        description="Daily window without notifications, as 22:00-07:00 of this machine's clock. "
        "What still waits at its end is sent then.",
    )

    alerts: tuple[AlertKind, ...] = Field(
        get_args(AlertKind),
        description="The kinds of alerts that are sent: `quota` (a subscription's window), "
        "`provider` (its requests fail), `login` (it ends or was refused), `budget` (a token's "
        "limit) and `billing` (an API key pays). The dashboard shows all of them.",
    )
    alert_percent: float = Field(
        80,
        gt=0,
        le=100,
        description="Used percent of a subscription's window, or of a token's limit, from which it "
        "alerts.",
    )
    alert_login_days: float = Field(
        7,
        ge=0,
        le=366,
        description="Days before the end of a login that nobody renews, such as one of "
        "`claude setup-token`, from which it alerts.",
    )

    @model_validator(mode="after")
    def require_a_secret(self) -> Self:
        if self.webhook_url is not None and self.webhook_secret is None:
            raise ValueError(
                "a webhook is signed, so webhook_url needs webhook_secret: whsec_ and the output "
                "of `openssl rand -base64 32`"
            )
        return self

    def addresses(self) -> Iterator[tuple[str, str]]:
        """Yield the name and value of every address for messages or answers."""
        if self.ntfy_topic is not None:
            yield "ntfy_url", self.ntfy_url
        if self.webhook_url is not None:
            yield "webhook_url", self.webhook_url.get_secret_value()
        if self.public_url is not None:
            yield "public_url", self.public_url
