"""A program's token is its turn's while the turn runs, and nobody's at any other time."""

from __future__ import annotations

from typing import Any

import pytest

from sdk_worker.asking import Asking, gateway_address, on_nobodys_behalf
from shared.channels import PROCESS_HEADER, Turn
from shared.errors import BusUnavailable, NoWorker, UpstreamError
from shared.settings import Settings


class Keys:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.down = False

    async def put(self, key: str, value: bytes, *, ttl: float) -> None:
        if self.down:
            raise BusUnavailable
        self.kept[key] = value

    async def delete(self, key: str) -> None:
        if self.down:
            raise BusUnavailable
        del self.kept[key]


class Program:
    """Answers control requests as told."""

    def __init__(self, status: str = "connected", fault: str = "") -> None:
        self.status, self.fault, self.asked = status, fault, []  # type: ignore[var-annotated]

    async def control(self, subtype: str, **_: Any) -> dict[str, Any]:
        self.asked.append(subtype)
        if subtype == "mcp_reconnect" and self.fault:
            raise UpstreamError(self.fault)
        return {"mcpServers": [{"name": "confirmation", "status": self.status}]}


class Session:
    def __init__(self, token: str, program: Program | None = None) -> None:
        self.token, self.program = token, program or Program()


def settings(**sections: Any) -> Settings:
    return Settings(_env_file=None, **sections)


TURN = Turn("r1", {}, caller="alice", working_directory="/work")


@pytest.mark.parametrize(
    ("server", "sdk", "address"),
    [
        ({}, {}, "http://127.0.0.1:8000"),
        ({"host": "0.0.0.0", "port": 9}, {}, "http://127.0.0.1:9"),
        ({"host": "::"}, {}, "http://[::1]:8000"),
        ({"host": "10.0.0.1"}, {"gateway_url": "http://gateway:8000/"}, "http://gateway:8000"),
    ],
)
def test_where_the_gateway_is(server: dict[str, Any], sdk: dict[str, Any], address: str) -> None:
    assert gateway_address(settings(server=server, sdk=sdk)) == address


def test_every_process_gets_a_token_of_its_own_and_more_patience_than_the_prompt() -> None:
    asking = Asking(Keys(), settings(security={"confirmation_timeout_seconds": 100}))
    one, two = asking.tool(), asking.tool()
    assert one.token != two.token
    server = one.servers["confirmation"]
    assert server["headers"] == {PROCESS_HEADER: one.token}
    assert server["timeout"] == 160_000
    assert one.tool_name == "mcp__confirmation__check_permission"


def test_a_prompt_without_an_end_has_the_longest_patience_there_is() -> None:
    asking = Asking(Keys(), settings(security={"confirmation_timeout_seconds": 0}))
    assert 1_000_000_000 < asking.tool().servers["confirmation"]["timeout"] < 2**31


async def test_a_token_is_known_for_as_long_as_the_turn_runs() -> None:
    keys = Keys()
    async with Asking(keys, settings()).on_behalf(Session("t"), TURN):  # type: ignore[arg-type]
        assert keys.kept == {"asking:t": b'{"caller":"alice","session_id":"r1","working_directory":"/work"}'}
    assert keys.kept == {}


async def test_the_end_of_a_turn_does_not_wait_for_redis() -> None:
    keys = Keys()
    async with Asking(keys, settings()).on_behalf(Session("t"), TURN):  # type: ignore[arg-type]
        keys.down = True


async def test_a_turn_nobody_could_be_asked_for_does_not_begin() -> None:
    keys = Keys()
    keys.down = True
    with pytest.raises(BusUnavailable):
        async with Asking(keys, settings()).on_behalf(Session("t"), TURN):  # type: ignore[arg-type]
            pytest.fail("it began")


async def test_a_program_that_lost_the_gateway_connects_again_or_gets_no_turn() -> None:
    program = Program("failed")
    async with Asking(Keys(), settings()).on_behalf(Session("t", program), TURN):  # type: ignore[arg-type]
        assert program.asked == ["mcp_status", "mcp_reconnect"]
    with pytest.raises(NoWorker, match="refused"):
        async with Asking(Keys(), settings()).on_behalf(Session("t", Program("failed", "refused")), TURN):  # type: ignore[arg-type]
            pytest.fail("it began")


async def test_a_program_without_tools_of_its_own_asks_nobody() -> None:
    keys = Keys()
    async with Asking(keys, settings()).on_behalf(Session(""), TURN):  # type: ignore[arg-type]
        assert keys.kept == {}
    async with on_nobodys_behalf(Session("t"), TURN):  # type: ignore[arg-type]
        assert keys.kept == {}
