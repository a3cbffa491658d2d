"""The choice of the endpoint for a request: a proxy route, or the management app.

The path of the chosen proxy route, with its names in braces, stands in the request's context; the
access record takes it from there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from gateway.proxy.resources import Resource
from gateway.server.addresses import Addresses
from gateway.server.asgi import ASGIApp, Receive, Scope, Send
from gateway.server.context import context_of
from shared.runtime.errors import UpgradeRefused

PARAMETER = re.compile(r"{(\w+)}")
OPAQUE_ID = "[A-Za-z0-9_-]{1,128}"
SEGMENTS = {"session_id": "[^/]+"}
POST_ONLY = frozenset({"POST"})
ALL_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST"})


class Switch:
    """Proxy routes by exact path, everything else to the management app: FastAPI's router would
    halve the speed.

    A path may name its conversation as `{session_id}`, or a resource by its id; such addresses are
    looked for last. HEAD is answered as GET without its body, OPTIONS with the methods of the
    address.
    """

    def __init__(
        self, endpoints: Mapping[str, ASGIApp], management: ASGIApp, addresses: Addresses
    ) -> None:
        self._endpoints = endpoints
        self._named = [
            (endpoint_pattern(template), template) for template in endpoints if "{" in template
        ]
        self._management = management
        self._addresses = addresses

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        method = scope["method"]
        if path not in self._endpoints and not (path := self._find(scope)):
            await self._manage(scope, receive, send)
        elif method in (methods := methods_of(self._endpoints[path])):
            context_of(scope).endpoint = path
            await self._endpoints[path](scope, receive, send)
        elif method == "HEAD" and "GET" in methods:  # the server leaves out the body
            context_of(scope).endpoint = path
            await self._endpoints[path]({**scope, "method": "GET"}, receive, send)
        elif context_of(scope).headers.get(b"upgrade", b"").lower() == b"websocket":
            raise UpgradeRefused(headers={"upgrade": "http/1.1"})
        else:
            await self._manage(scope, receive, send)

    async def _manage(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for an address without a proxy route, or with a method that no proxy
        route takes.
        """
        if scope["method"] == "HEAD":
            asked = {**scope, "method": "GET"}
            await self._management(asked, receive, send)
            scope["route"] = asked.get("route")
        elif scope["method"] == "OPTIONS" and (methods := self._methods(scope["path"])):
            headers = [(b"allow", allow(methods).encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self._management(scope, receive, send)

    def _methods(self, path: str) -> frozenset[str]:
        """Return the methods that `path` takes; `*` stands for the whole server."""
        return ALL_METHODS if path == "*" else self._addresses.methods(path)

    def _find(self, scope: Scope) -> str:
        for pattern, template in self._named:
            if found := pattern.fullmatch(scope["path"]):
                scope["path_params"] = found.groupdict()
                return template
        return ""


def endpoint_pattern(template: str) -> re.Pattern[str]:
    """Return the pattern of the paths that `template` serves: a session has any name, an id only an
    id's characters.
    """
    return re.compile(
        PARAMETER.sub(
            lambda found: f"(?P<{found[1]}>{SEGMENTS.get(found[1], OPAQUE_ID)})", template
        )
    )


def methods_of(endpoint: ASGIApp) -> frozenset[str]:
    """Return the methods of a proxy route."""
    return endpoint.methods if isinstance(endpoint, Resource) else POST_ONLY


def allow(methods: Iterable[str]) -> str:
    """Return the value of `Allow` for `methods`."""
    return ", ".join(sorted(methods))
