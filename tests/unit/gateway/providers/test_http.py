"""The narrow interface: what a provider says, and how its failures are named."""

from __future__ import annotations

import pytest

from gateway.providers.http import Upstream, visible_headers
from shared.runtime.errors import UpstreamError
from tests.unit.gateway.conftest import Connection, ScriptedProvider


def test_only_listed_headers_of_a_provider_are_seen() -> None:
    raw = (
        (b"Content-Type", b"x"),
        (b"Set-Cookie", b"a"),
        (b"CF-Ray", b"1"),
        (b"Anthropic-Organization-Id", b"o"),
    )
    assert visible_headers(raw) == [(b"content-type", b"x"), (b"anthropic-organization-id", b"o")]


@pytest.mark.parametrize("value", [b"a\x01b", b"\x1b[2J", b"a\x7f", b"a\rb"])
def test_a_header_with_a_control_byte_is_the_provider_s_fault(value: bytes) -> None:
    with pytest.raises(UpstreamError, match="'request-id' contains a control character"):
        visible_headers(((b"Request-Id", value),))


@pytest.mark.parametrize("value", [b"\x01\x02", b"a\x1bb"])
async def test_a_control_byte_sent_by_a_provider_is_an_upstream_error(
    provider: ScriptedProvider, value: bytes
) -> None:
    provider.scripts.append(
        lambda connection: connection.answer(b"ok", headers=b"request-id: " + value + b"\r\n")
    )
    async with Upstream(connect_timeout=5) as upstream:
        with pytest.raises(UpstreamError):
            await upstream.open("POST", provider.url, {}, b"{}")


async def test_connections_are_kept_alive_between_requests(provider: ScriptedProvider) -> None:
    provider.scripts += [
        lambda connection: connection.answer(b"1"),
        lambda connection: connection.answer(b"2"),
    ]
    async with Upstream(connect_timeout=5) as upstream:
        for expected in (b"1", b"2"):
            opened = await upstream.open("POST", provider.url + "/v1/messages", {}, b"{}")
            assert b"".join([chunk async for chunk in opened.chunks]) == expected
    first, second = provider.received
    assert first.writer is second.writer


async def test_a_large_body_is_written_whole(provider: ScriptedProvider) -> None:
    provider.scripts.append(lambda connection: connection.answer(b"ok"))
    body = b"x" * 5_000_000
    async with Upstream(connect_timeout=5) as upstream:
        opened = await upstream.open("POST", provider.url, {}, body)
        assert opened.status == 200
        await opened.aclose()
    assert provider.received[0].body == body
    assert provider.received[0].headers["content-length"] == "5000000"


async def test_a_redirect_is_the_caller_s_to_follow(provider: ScriptedProvider) -> None:
    provider.scripts.append(
        lambda connection: connection.answer(b"", "302 Found", b"location: /elsewhere\r\n")
    )
    async with Upstream(connect_timeout=5) as upstream:
        assert (await upstream.open("POST", provider.url, {}, b"{}")).status == 302


async def test_a_provider_that_hangs_up_is_an_upstream_error(provider: ScriptedProvider) -> None:
    async def hang_up(connection: Connection) -> None:
        connection.writer.close()

    provider.scripts.append(hang_up)
    async with Upstream(connect_timeout=5) as upstream:
        with pytest.raises(UpstreamError, match="could not be reached"):
            await upstream.open("POST", provider.url, {}, b"{}")
