"""The join token: all that another machine needs to become a worker of this stack, as one word.

The word is base64url of JSON. It holds the password of the joining user, which is worth one use
before the token's end (shared/bus/worker_access.py), and the address without a parameter: nothing
in a token can switch the check of certificates off.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shared.runtime.errors import CCProxyError
from shared.settings.labels import Label
from shared.settings.redis_address import TLS_PREFIX, tls_address

FORM = 1
LONGEST_TOKEN = 65_536  # characters; an authority's certificate has some 2,000


class TokenUnreadable(CCProxyError):
    """The text is no join token."""


class TokenForm(BaseModel):
    """The part of a token that every form has."""

    form: int


class JoinToken(BaseModel):
    """The facts of an invitation: `address` is `rediss://host:port/database`, `password` that of
    the joining `user`, `ca` the certificate of an authority in PEM or empty, `expires_at` in UTC
    seconds.
    """

    model_config = ConfigDict(frozen=True)

    form: int = FORM
    name: Label
    address: Annotated[str, AfterValidator(tls_address)]
    user: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    password: str = Field(pattern=r"^[A-Za-z0-9_-]+$", repr=False)
    ca: str = ""
    expires_at: float


def with_login(address: str, user: str, password: str, parameters: str = "") -> str:
    """Return `address` of the form of `tls_address` with a user, a password and parameters."""
    return f"{TLS_PREFIX}{user}:{password}@{address.removeprefix(TLS_PREFIX)}{parameters}"


def write_join_token(token: JoinToken) -> str:
    """Return `token` as a word of letters, digits, dashes and underscores."""
    return base64.urlsafe_b64encode(token.model_dump_json().encode()).decode().rstrip("=")


def read_join_token(text: str) -> JoinToken:
    """Return the token in `text`, around which there may be blanks and line ends. Raises
    TokenUnreadable, which repeats nothing of the text.
    """
    # A terminal or a mail may have broken the word into lines.
    word = "".join(text.split())
    if len(word) > LONGEST_TOKEN:
        raise TokenUnreadable("This is no join token: it is too long.")
    try:
        data = base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True)
        form = TokenForm.model_validate_json(data).form
        if form != FORM:
            raise TokenUnreadable(
                f"This join token has form {form}; this CCProxy reads form {FORM}. Install the "
                "version of the stack that made it."
            )
        return JoinToken.model_validate_json(data)
    except (ValidationError, binascii.Error, ValueError) as error:
        raise TokenUnreadable(
            "This is no join token; copy the whole line that `ccproxy workers invite` prints."
        ) from error
