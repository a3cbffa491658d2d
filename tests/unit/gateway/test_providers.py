"""A request on its way to a provider: parsed once, and made into bytes once."""

from __future__ import annotations

import pytest

from gateway.providers import Outgoing
from shared.bus.channels import AccessRecord
from shared.runtime.errors import ClientError

ARRIVED = b'{ "model": "m" }'


def outgoing(body: bytes = ARRIVED) -> Outgoing:
    return Outgoing("POST", "/responses", {}, body, AccessRecord("req_1", 0.0))


def test_a_request_that_nothing_rewrites_leaves_with_the_bytes_that_arrived() -> None:
    request = outgoing()
    assert request.parsed() == {"model": "m"}
    assert request.parsed() is request.parsed()
    assert request.serialised() is ARRIVED


def test_a_request_that_is_rewritten_twice_is_serialised_once() -> None:
    request = outgoing()
    request.rewrite(request.parsed() | {"model": "n"})
    request.rewrite(request.parsed() | {"store": False})
    assert request.body == b"", "no bytes are made before the provider asks for them"
    sent = request.serialised()
    assert sent == b'{"model":"n","store":false}'
    assert request.serialised() is sent, "a request that is sent again is not serialised again"


def test_a_body_that_is_no_object_is_refused_by_words() -> None:
    with pytest.raises(ClientError, match="must be a JSON object, not list"):
        outgoing(b"[]").parsed()
