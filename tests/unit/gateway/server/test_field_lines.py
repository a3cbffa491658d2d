"""Several header lines of one name lose nothing."""

from __future__ import annotations

import pytest

from gateway.server.field_lines import joined
from shared.runtime.errors import ClientError
from tests.unit.gateway.conftest import Connection, Start


@pytest.mark.parametrize(
    ("lines", "values"),
    [
        ([(b"anthropic-beta", b"a"), (b"anthropic-beta", b"b")], {b"anthropic-beta": b"a, b"}),
        ([(b"cookie", b"a=1"), (b"cookie", b"b=2")], {b"cookie": b"a=1; b=2"}),
        (
            [(b"x-own", b"1"), (b"accept", b"a"), (b"x-own", b"2")],
            {b"x-own": b"1, 2", b"accept": b"a"},
        ),
        ([(b"x-api-key", b"k"), (b"x-api-key", b"k")], {b"x-api-key": b"k"}),
        ([], {}),
    ],
)
def test_lines_of_one_name_become_one_list(
    lines: list[tuple[bytes, bytes]], values: dict[bytes, bytes]
) -> None:
    assert joined(lines) == values


@pytest.mark.parametrize(
    "name", [b"host", b"authorization", b"x-api-key", b"content-type", b"anthropic-version"]
)
def test_two_values_of_a_single_header_are_refused(name: bytes) -> None:
    with pytest.raises(ClientError, match="comes twice"):
        joined([(name, b"a"), (name, b"b")])


async def answer(connection: Connection) -> None:
    await connection.answer(b"{}")


async def test_split_betas_reach_the_provider(start_gateway: Start) -> None:
    running = await start_gateway()
    running.provider.scripts = [answer]
    headers = [
        ("anthropic-beta", "one-2025"),
        ("anthropic-beta", "two-2025"),
        ("x-own", "1"),
        ("x-own", "2"),
    ]
    assert (await running.post(headers=headers)).status_code == 200
    [received] = running.provider.received
    assert received.headers["anthropic-beta"] == "one-2025, two-2025"
    assert received.headers["x-own"] == "1, 2"


async def test_two_tokens_are_a_clear_refusal(start_gateway: Start) -> None:
    running = await start_gateway()
    reply = await running.post(headers=[("x-api-key", "one"), ("x-api-key", "two")])
    assert reply.status_code == 400
    assert "'x-api-key' comes twice" in reply.json()["error"]["message"]
