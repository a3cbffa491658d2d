"""Every error the product can show, with its HTTP status and its kind.

    CCProxyError                 500 internal
      ClientError                400 invalid_request      the caller's fault; says which field
        TooLarge                 413 too_large
        NotAuthorized            401 authentication
        NotAllowed               403 permission
        NotFound                 404 not_found
          StoredThingMissing     404 not_found            a response, item, conversation; or 400
          ThreadNotFound         404 thread_not_found     at the provider; clients send everything
        Conflict                 409 conflict
        Gone                     410 gone                 a one-time link that is used up
        UnsupportedMedia         415 unsupported_media
        UpgradeRefused           426 invalid_request
        ClientTimeout            408 timeout
        HeadersTooLarge          431 too_large
      CredentialsMissing         401 authentication       the owner's; says which command to run
        CredentialsExpired       401 authentication       and why they could not be renewed
      Busy                       429 overloaded           our own queue is full
      LimitReached               429 quota                names the limit and its reset
        QuotaReached             429 quota                QUOTA__STOP_AT_PERCENT is reached
        SpendLimitReached        429 spend_limit          a limit of the caller's token
      UpstreamError              502 upstream             the provider's fault
        UpstreamTimeout          504 timeout
        UpstreamRefused          as upstream              keeps the provider's status and words
      BusUnavailable             503 unavailable          ours; says what to start
      NoWorker                   503 unavailable
      StoreUnavailable           503 unavailable          the DuckDB file; says who holds it
      WorkerLost                 502 worker_lost          the process that held the call is gone
      Stopping                   503 stopping             this process is shutting down
      CallerGone                 499 cancelled            internal: nobody is left to tell

A class's docstring is its default message. `kind` is the same word in logs, metrics, the bus and
the access record; `gateway/server/problems.py` alone turns it into a dialect.
"""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, TypeVar

T = TypeVar("T")

CARRIED = ("param", "code")
"""What some errors know beyond every error's own fields; it crosses the bus too."""


class CCProxyError(Exception):
    """Something went wrong inside CCProxy; the log has the details under this request's id."""

    status: int = 500
    kind: str = "internal"
    exit_code: ClassVar[int] = 1  # of a command that ends with the error

    def __init__(
        self, message: str | None = None, *, headers: dict[str, str] | None = None
    ) -> None:
        self.message = message or inspect.cleandoc(type(self).__doc__ or "")
        self.headers = headers or {}
        super().__init__(self.message)

    def as_dict(self) -> dict[str, Any]:
        """The shape errors travel in over the bus; `error_from_dict` is its inverse."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "status": self.status,
            "kind": self.kind,
            "headers": self.headers,
            **{name: getattr(self, name) for name in CARRIED if getattr(self, name, None)},
        }


class ClientError(CCProxyError):
    """The request cannot be understood."""

    status = 400
    kind = "invalid_request"

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        """`param` is the path of the field at fault, as in `messages[2].content`."""
        super().__init__(message, headers=headers)
        self.param = param


class TooLarge(ClientError):
    """The request body is larger than this server accepts."""

    status = 413
    kind = "too_large"


class NotAuthorized(ClientError):
    """This server needs its token: send it as `x-api-key` or `Authorization: Bearer`."""

    status = 401
    kind = "authentication"


class NotAllowed(ClientError):
    """This token or origin may not do that."""

    status = 403
    kind = "permission"


class NotFound(ClientError):
    """There is nothing at this address."""

    status = 404
    kind = "not_found"


class ThreadNotFound(NotFound):
    """Threads are not kept here: send the whole conversation, with `thread` of type `create` or
    without.
    """

    # Anthropic's own `details.error_code`, upon which its clients do just that
    kind = "thread_not_found"


class StoredThingMissing(NotFound):
    """Nothing is stored under this id."""

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str = "",
        param: str | None = None,
        status: int = 404,
        headers: dict[str, str] | None = None,
    ) -> None:
        """`code` and `status` are those by which OpenAI's clients know this refusal."""
        super().__init__(message, param=param, headers=headers)
        self.code = code
        self.status = status


class Conflict(ClientError):
    """The request was decided before."""

    status = 409
    kind = "conflict"


class Gone(ClientError):
    """This link is used up."""

    status = 410
    kind = "gone"


class UnsupportedMedia(ClientError):
    """The body must be JSON: send `content-type: application/json`."""

    status = 415
    kind = "unsupported_media"


class UpgradeRefused(ClientError):
    """WebSockets are not served; send the request over plain HTTP."""

    status = 426


class ClientTimeout(ClientError):
    """The request's body did not arrive in time."""

    status = 408
    kind = "timeout"


class HeadersTooLarge(ClientError):
    """The request has more or longer headers than this server accepts."""

    status = 431
    kind = "too_large"


class CredentialsMissing(CCProxyError):
    """No credentials were found for this provider."""

    status = 401
    kind = "authentication"


class CredentialsExpired(CredentialsMissing):
    """The provider's login has expired and could not be renewed."""


class Busy(CCProxyError):
    """Every worker is busy and the queue is full; try again shortly."""

    status = 429
    kind = "overloaded"


class LimitReached(CCProxyError):
    """A limit is used up until its reset."""

    status = 429
    kind = "quota"

    def __init__(
        self,
        message: str | None = None,
        *,
        limit: str = "",
        resets_at: float = 0.0,
        headers: dict[str, str] | None = None,
    ) -> None:
        """`limit` names the limit for people; `resets_at` is in UTC seconds, 0 for an unknown
        time.
        """
        super().__init__(message, headers=headers)
        self.limit = limit
        self.resets_at = resets_at


class QuotaReached(LimitReached):
    """QUOTA__STOP_AT_PERCENT stops requests: the subscription's window is used up that far."""


class SpendLimitReached(LimitReached):
    """The token has used up one of its limits."""

    kind = "spend_limit"


class UpstreamError(CCProxyError):
    """The provider could not be reached."""

    status = 502
    kind = "upstream"


class UpstreamTimeout(UpstreamError):
    """The provider did not answer in time."""

    status = 504
    kind = "timeout"


class UpstreamRefused(UpstreamError):
    """The provider refused the request. Its own status and words are kept: `status`, `body`
    (bytes), `headers`.
    """

    kind = "refused"

    def __init__(
        self,
        message: str | None = None,
        *,
        status: int,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, headers=headers)
        self.status = status
        self.body = body

    def as_dict(self) -> dict[str, Any]:
        return super().as_dict() | {"body": self.body.decode("utf-8", "replace")}


class BusUnavailable(CCProxyError):
    """Redis, which connects the processes, cannot be reached; `/api` and `/codex` go on
    without it.
    """

    status = 503
    kind = "unavailable"


class NoWorker(CCProxyError):
    """No process serves this call; `ccproxy status` shows the missing one."""

    status = 503
    kind = "unavailable"


class StoreUnavailable(CCProxyError):
    """The access records cannot be read or written at the moment."""

    status = 503
    kind = "unavailable"


class WorkerLost(CCProxyError):
    """The process working on this request is gone; nothing was run twice. Send the request again if
    that is safe.
    """

    status = 502
    kind = "worker_lost"


class Stopping(CCProxyError):
    """The server is shutting down."""

    status = 503
    kind = "stopping"


class CallerGone(CCProxyError):
    """The client has disconnected."""

    status = 499
    kind = "cancelled"


def _tree(cls: type[CCProxyError]) -> dict[str, type[CCProxyError]]:
    found = {cls.__name__: cls}
    for child in cls.__subclasses__():
        found |= _tree(child)
    return found


def error_from_dict(shape: Any) -> CCProxyError:
    """Rebuild what `as_dict` wrote. A field of another type has its default.

    A class this process does not know becomes a plain CCProxyError that keeps its status and its
    kind.
    """
    known: dict[str, Any] = shape if isinstance(shape, dict) else {}
    cls = _tree(CCProxyError).get(_field(known, "error", ""), CCProxyError)
    message = _field(known, "message", "")
    given: dict[Any, Any] = _field(known, "headers", {})
    headers = {
        name: value
        for name, value in given.items()
        if isinstance(name, str) and isinstance(value, str)
    }
    if issubclass(cls, UpstreamRefused):
        body = _field(known, "body", "").encode(errors="replace")
        return cls(message, status=_status(known, 502), body=body, headers=headers)
    error = cls(message, headers=headers)
    error.status = _status(known, error.status)
    error.kind = _field(known, "kind", error.kind)
    for name in CARRIED:
        if hasattr(error, name) and (told := _field(known, name, "")):
            setattr(error, name, told)
    return error


def _field(shape: dict[str, Any], name: str, default: T) -> T:
    """Return the field of `shape`; `default` for a field that is absent or of another type."""
    value = shape.get(name)
    return value if isinstance(value, type(default)) else default


def _status(shape: dict[str, Any], default: int) -> int:
    status = _field(shape, "status", default)
    return status if 400 <= status <= 599 else default
