"""Claude, direct: the caller's bytes with the owner's credential.

Nothing is added to look like another program: only authentication, the beta that a login's token
needs, and the API version when a caller names none. All other headers of the caller about itself
pass unchanged.
"""

from __future__ import annotations

from gateway.metering.billing_order import BillingOrder
from gateway.metering.quota import QuotaWatch
from gateway.providers import Opened, Outgoing
from gateway.providers.billing import send_in_order
from gateway.providers.headers import forwarded
from gateway.providers.http import Upstream
from gateway.proxy.catalogue import Catalogue
from gateway.proxy.peek import parse_object
from shared.accounts.account import Account
from shared.accounts.claude import OAUTH_BETA
from shared.accounts.login import Authorization
from shared.bus.channels import AccessRecord
from shared.formats import messages
from shared.formats.ir import Json
from shared.formats.registry import ProviderFormat
from shared.runtime.errors import UpstreamRefused
from shared.runtime.version import USER_AGENT
from shared.settings.tree import Settings

API_VERSION = "2023-06-01"  # accepts the most; current SDKs send their own version


class Claude:
    """Provider of the Messages format at `base_url`."""

    name = "claude"
    speaks: ProviderFormat = messages

    def __init__(
        self,
        settings: Settings,
        account: Account,
        upstream: Upstream,
        quota: QuotaWatch,
        order: BillingOrder | None = None,
    ) -> None:
        self.catalogue = Catalogue(self.list_models, "anthropic", settings.models.aliases)
        self._base_url = settings.claude.base_url.rstrip("/")
        self._account = account
        self._upstream = upstream
        self._quota = quota
        self._order = order

    async def open(self, request: Outgoing) -> Opened:
        return await send_in_order(
            request, self._account, self._quota, self._order, self._send, self._send
        )

    async def list_models(self) -> list[Json]:
        """Return every model of the owner's account, in the provider's shape."""
        asked = Outgoing("GET", "/v1/models?limit=1000", {}, b"", AccessRecord("", 0.0))
        opened = await self.open(asked)
        body = await opened.read()
        models = parse_object(body).get("data") if opened.status == 200 else None
        if not isinstance(models, list):
            raise UpstreamRefused(
                "The provider did not list its models.", status=opened.status, body=body
            )
        return models

    async def _send(self, request: Outgoing, authorization: Authorization) -> Opened:
        headers = prepare_headers(request.headers, authorization)
        body = request.serialised() if request.upload is None else request.upload
        # `forwarded` leaves the length out. An upload passes unchanged, so its length still holds,
        # and spares the provider a body in chunks.
        if request.upload is not None and b"content-length" in request.headers:
            headers["content-length"] = request.headers[b"content-length"].decode()
        address = self._base_url + request.path
        request.note_sent(address, headers, body if isinstance(body, bytes) else None)
        return await self._upstream.open(request.method, address, headers, body)


def prepare_headers(caller: dict[bytes, bytes], authorization: Authorization) -> dict[str, str]:
    """Return the headers for the provider: the caller's headers, the credential, and defaults."""
    headers = forwarded(caller) | dict(authorization.headers)
    headers.setdefault("anthropic-version", API_VERSION)
    headers.setdefault("user-agent", USER_AGENT)
    if authorization.billed_to == "subscription":
        headers["anthropic-beta"] = merge_betas(headers.get("anthropic-beta", ""), OAUTH_BETA)
    return headers


def merge_betas(named: str, needed: str) -> str:
    """Return the caller's betas in their order, with the `needed` beta."""
    betas = [beta for part in named.split(",") if (beta := part.strip())]
    return ",".join(betas if needed in betas else [*betas, needed])
