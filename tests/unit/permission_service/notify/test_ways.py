"""The wire of each way: ntfy's JSON with buttons, and signed events."""

from __future__ import annotations

import asyncio
import json

from anthropic.types.beta import BetaWebhookEvent

from permission_service.notify.links import LinkTokens
from permission_service.notify.messages import Notification
from permission_service.notify.ways import Ntfy, Webhook, event_document, ways_of
from shared.settings.notify import NotifySettings
from tests.support.managed_types import check
from tests.support.receivers import SECRET, Receiver

LINKS = LinkTokens(allow="A" * 43, deny="D" * 43)
WAITING = Notification(
    "permission-r", "permission.waiting", "T", "t", 1_700_000_000.0, "r", may_allow=True
)
NTFY = {"ntfy_topic": "my-topic", "ntfy_url": "http://127.0.0.1:1"}


def settings(**given: str) -> NotifySettings:
    return NotifySettings.model_validate(given)


def test_a_message_of_a_request_has_a_button_for_each_link_and_one_for_the_page() -> None:
    way = Ntfy(settings(**NTFY, public_url="https://home.example/"))
    document = way.document(WAITING, LINKS)
    labels = [action["label"] for action in document["actions"]]
    assert labels == ["Deny", "Allow", "Open"]
    assert document["actions"][1] == {
        "action": "http",
        "label": "Allow",
        "method": "POST",
        "url": f"https://home.example/permissions/answer/{LINKS.allow}",
        "clear": True,
    }
    assert (document["topic"], document["sequence_id"]) == ("my-topic", "permission-r")


def test_what_may_not_be_allowed_unseen_has_no_allow_button_and_no_allow_link() -> None:
    way = Ntfy(settings(**NTFY, public_url="https://home.example"))
    cut = Notification("permission-r", "permission.waiting", "T", "t", 0.0, "r")
    document = way.document(cut, LINKS)
    assert [action["label"] for action in document["actions"]] == ["Deny", "Open"]
    assert LINKS.allow not in json.dumps(document)


def test_without_a_public_address_a_message_has_no_buttons() -> None:
    way = Ntfy(settings(**NTFY))
    assert way.has_buttons is False
    assert "actions" not in way.document(WAITING, None)


async def test_ntfy_gets_its_token_in_a_header_and_the_topic_in_the_body() -> None:
    with Receiver() as receiver:
        way = Ntfy(settings(ntfy_topic="my-topic", ntfy_url=receiver.url, ntfy_token="tk_secret"))
        assert await way.send(WAITING, None) == "HTTP 200"
        arrived = await asyncio.to_thread(receiver.next)
    assert arrived.path == "/"
    assert arrived.headers["authorization"] == "Bearer tk_secret"
    assert arrived.document["topic"] == "my-topic"


async def test_a_webhook_gets_a_signed_event_with_an_id_and_no_links() -> None:
    with Receiver() as receiver:
        given = settings(webhook_url=f"{receiver.url}/in?key=1", webhook_secret=SECRET)
        way = Webhook(given, lambda: 1_700_000_100.9)
        await way.send(WAITING, LINKS)
        arrived = await asyncio.to_thread(receiver.next)
    assert (arrived.path, arrived.is_signed()) == ("/in?key=1", True)
    assert arrived.is_signed(b"another key of the same length..") is False
    assert arrived.headers["webhook-id"] == "permission-r"
    assert arrived.headers["webhook-timestamp"] == "1700000100"
    assert arrived.document == {
        "type": "permission.waiting",
        "timestamp": "2023-11-14T22:13:20+00:00",
        "data": {"title": "T", "text": "t", "request_id": "r"},
    }
    assert b"AAAA" not in arrived.body


def test_the_configured_ways_are_those_with_a_topic_or_an_address() -> None:
    assert ways_of(NotifySettings(), lambda: 0.0) == []
    both = settings(**NTFY, webhook_url="https://x.example", webhook_secret=SECRET)
    assert [way.name for way in ways_of(both, lambda: 0.0)] == ["ntfy", "webhook"]


def test_a_quiet_alert_makes_no_sound_and_a_webhook_gets_its_facts() -> None:
    facts = {"kind": "quota", "subject": "claude 5h", "level": "back"}
    alert = Notification("alert-1", "alert", "T", "t", 0.0, quiet=True, facts=facts)
    assert Ntfy(settings(**NTFY)).document(alert, None)["priority"] == 2
    assert event_document(alert)["data"] == {"title": "T", "text": "t", **facts}


def test_an_event_of_a_managed_session_has_the_form_and_the_types_of_the_official_sdk() -> None:
    report = Notification(
        "sevt_1",
        "session.status_idled",
        "helper is done",
        "Session: sesn_1",
        1_700_000_000.0,
        facts={"session_id": "sesn_1", "caller": "laptop"},
    )
    document = event_document(report)
    check(BetaWebhookEvent, document)
    assert document == {
        "id": "sevt_1",
        "created_at": "2023-11-14T22:13:20+00:00",
        "data": {
            "id": "sesn_1",
            "organization_id": "ccproxy",
            "type": "session.status_idled",
            "workspace_id": "laptop",
        },
        "type": "event",
    }
