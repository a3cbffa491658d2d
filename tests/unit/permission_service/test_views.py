"""The names of events and fields are those terminals already know."""

from __future__ import annotations

from permission_service.requests import PermissionRequests, RequestAnswer, StoredRequest
from permission_service.views import audit, show_event, show_state
from shared.bus.channels import FileBefore, PermissionRequest

NOW = 1_700_000_000.0


def opened(requests: PermissionRequests, **fields: object) -> StoredRequest:
    ask = PermissionRequest("a", "Bash", {"command": "ls"}, asked_at=NOW, caller="alice", **fields)  # type: ignore[arg-type]
    stored = requests.open(ask, NOW)
    requests.keep(stored)
    return stored


def names(requests: PermissionRequests) -> list[dict[str, object]]:
    return [show_event(event)["data"] for event in requests.events_after(0)]


def test_a_request_shows_what_the_predecessor_showed_and_who_asks() -> None:
    requests = PermissionRequests(30)
    opened(requests)
    (data,) = names(requests)
    assert (
        data.items()
        >= {
            "type": "permission_request",
            "request_id": "a",
            "tool_name": "Bash",
            "input": {"command": "ls"},
            "created_at": "2023-11-14T22:13:20+00:00",
            "expires_at": "2023-11-14T22:13:50+00:00",
            "timeout_seconds": 30,
            "kind": "approval",
            "caller": "alice",
            "suggestion": {"tool": "Bash", "command": "ls"},
        }.items()
    )


def test_a_resolution_says_who_and_whether_the_input_was_changed() -> None:
    requests = PermissionRequests(30)
    opened(requests)
    requests.keep(
        requests.settle("a", RequestAnswer(True, "bob", updated_input={"command": "x"}), NOW + 1)
    )
    assert names(requests)[1] == {
        "type": "permission_resolved",
        "request_id": "a",
        "allowed": True,
        "resolved_at": "2023-11-14T22:13:21+00:00",
        "message": "",
        "decided_by": "bob",
        "rule": "",
        "edited": True,
    }


def test_expiry_and_withdrawal_have_their_own_events() -> None:
    for end, name, stamp in (
        (PermissionRequests.expire, "permission_expired", "expired_at"),
        (PermissionRequests.withdraw, "permission_cancelled", "cancelled_at"),
    ):
        requests = PermissionRequests(30)
        requests.keep(end(requests, opened(requests), NOW + 30))
        data = names(requests)[1]
        assert (data["type"], data[stamp]) == (name, "2023-11-14T22:13:50+00:00")


def test_the_time_left_is_counted_down_and_a_case_for_ever_has_none() -> None:
    stored = opened(PermissionRequests(30))
    assert [show_state(stored, NOW + passed)["time_remaining"] for passed in (0, 10, 99)] == [
        30,
        20,
        0,
    ]
    assert show_state(opened(PermissionRequests(0)), NOW)["time_remaining"] is None


def test_a_record_for_the_audit_tells_both_inputs() -> None:
    requests = PermissionRequests(30)
    opened(requests)
    record = audit(
        requests.settle("a", RequestAnswer(True, "bob", updated_input={"command": "x"}), NOW + 1)
    )
    assert (record.outcome, record.decided_by, record.waited_ms) == ("allowed", "bob", 1000)
    assert (record.input, record.updated_input) == ('{"command":"ls"}', '{"command":"x"}')


def test_a_request_is_presented_until_it_ends() -> None:
    requests = PermissionRequests(30)
    stored = requests.present(opened(requests, file_before=FileBefore("/x", True, "secret")))
    assert stored.ask.file_before is None
    assert show_state(stored, NOW)["presentation"].title == "Run a command"
    requests.keep(stored)
    assert names(requests)[0]["presentation"] == stored.presentation
    ended = requests.settle("a", RequestAnswer(True, "bob"), NOW + 1)
    assert ended.presentation is None
    assert "presentation" not in show_state(ended, NOW)
