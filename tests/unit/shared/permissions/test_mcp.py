"""The protocol's five methods; whatever goes wrong is a denial in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shared.bus.channels import Outcome, PermissionDecision
from shared.permissions import mcp
from shared.runtime.errors import BusUnavailable, ClientError

CALL: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {
        "name": "check_permission",
        "arguments": {"tool_name": "Bash", "input": {"n": 1, "l": [None]}},
    },
}


def test_an_allowed_input_of_any_shape_goes_back_unless_a_person_changed_it() -> None:
    asked = mcp.read_call(CALL)["input"]
    allowed = PermissionDecision("a", "allowed")
    assert mcp.behavior(allowed, asked) == {
        "behavior": "allow",
        "updatedInput": {"n": 1, "l": [None]},
    }
    assert (
        mcp.behavior(PermissionDecision("a", "allowed", updated_input={}), asked)["updatedInput"]
        == {}
    )


@pytest.mark.parametrize("outcome", ["denied", "expired", "cancelled"])
def test_everything_else_is_a_denial_that_says_something(outcome: Outcome) -> None:
    assert mcp.behavior(PermissionDecision("a", outcome, "why"), {}) == {
        "behavior": "deny",
        "message": "why",
    }
    assert mcp.behavior(PermissionDecision("a", outcome), {})["message"]


def test_a_failure_to_ask_is_a_denial_that_names_it() -> None:
    denied = mcp.not_placed(BusUnavailable())
    assert denied["behavior"] == "deny"
    assert "Redis" in denied["message"]


def test_the_answer_is_one_text_block_of_json() -> None:
    (block,) = mcp.tool_result(CALL, mcp.deny("no"))["result"]["content"]
    assert (block["type"], json.loads(block["text"])) == (
        "text",
        {"behavior": "deny", "message": "no"},
    )


@pytest.mark.parametrize(
    "arguments",
    [
        None,
        [],
        {},
        {"tool_name": "Bash"},
        {"tool_name": 1, "input": {}},
        {"tool_name": "x", "input": "y"},
    ],
)
def test_a_call_without_its_arguments_is_refused(arguments: Any) -> None:
    with pytest.raises(ClientError):
        mcp.read_call({"params": {"name": "check_permission", "arguments": arguments}})


def test_progress_goes_to_whoever_gave_a_token_for_it() -> None:
    assert mcp.progress_token(CALL) is None
    assert mcp.progress_token({"params": {"_meta": {"progressToken": 0}}}) == 0
    assert mcp.progress("t", 3)["params"]["progress"] == 3


def test_an_event_is_one_line_of_json() -> None:
    assert (
        mcp.mcp_event({"a": "x\ny\u2028"}) == b'event: message\ndata: {"a":"x\\ny\xe2\x80\xa8"}\n\n'
    )


@pytest.mark.parametrize("params", [7, [], "x", None, {"_meta": 7}, {"_meta": []}])
def test_parameters_of_another_form_are_read_as_none(params: object) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    assert mcp.answer_message(message)["result"]["protocolVersion"] == mcp.NEWEST_PROTOCOL
    assert mcp.progress_token(message) is None
    with pytest.raises(ClientError):
        mcp.read_call(message)
