"""The reach of a tool call is what the machine that runs the tool would touch."""

from __future__ import annotations

from shared.bus.channels import PermissionRequest, decode_payload, encode_payload
from shared.permissions.reach import Reach, ReachedPath, reach_of


def test_a_tool_nobody_knows_has_an_incomplete_reach() -> None:
    assert reach_of("mcp__db__read", {"path": "x"}, "/srv") == Reach(complete=False)


def test_a_reach_travels_over_the_bus() -> None:
    reach = Reach([ReachedPath("/a/link", "/b", writes=True)], ["example.com"], complete=True)
    request = PermissionRequest("p1", "Write", {}, reach=reach)
    assert decode_payload(PermissionRequest, encode_payload(request)).reach == reach
    assert (
        decode_payload(
            PermissionRequest, encode_payload(PermissionRequest("p1", "Write", {}))
        ).reach
        is None
    )
