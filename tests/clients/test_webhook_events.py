"""Events of managed sessions, unwrapped by the official SDK with its library for signatures."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from permission_service.notify.messages import report_message
from permission_service.notify.ways import Webhook
from shared.bus.session_reports import SessionReport
from shared.settings.notify import NotifySettings
from tests.clients.environments import Unreachable, programs_of, read_pins
from tests.support.receivers import SECRET, Received, Receiver

OTHER_SECRET = "whsec_" + base64.b64encode(b"o" * 32).decode()
UNWRAP = """
import json, sys
from anthropic import Anthropic
body, headers, key = json.load(sys.stdin)
client = Anthropic(api_key="unused", webhook_key=key)
event = client.beta.webhooks.unwrap(body, headers=headers)
json.dump([event.type, event.id, event.data.type, event.data.id], sys.stdout)
"""


def unwrapped(received: Received, key: str) -> subprocess.CompletedProcess[str]:
    """Return the run of the SDK over an event as it arrived."""
    try:
        programs = programs_of(read_pins("anthropic-webhooks"))
    except Unreachable as error:
        pytest.skip(f"the SDK could not be installed: {error}")
    given = json.dumps([received.body.decode(), received.headers, key])
    command: list[Any] = [programs / Path(sys.executable).name, "-c", UNWRAP]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


@pytest.mark.conformance
async def test_the_official_sdk_unwraps_the_event_of_a_session_with_the_owners_secret_alone() -> (
    None
):
    with Receiver() as receiver:
        given = {"webhook_url": receiver.url, "webhook_secret": SECRET}
        way = Webhook(NotifySettings.model_validate(given), time.time)
        report = SessionReport("sevt_1", "sesn_1", "laptop", "done", time.time(), "helper")
        await way.send(report_message(report, details=False), None)
        received = receiver.next()
    done = unwrapped(received, SECRET)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ["event", "sevt_1", "session.status_idled", "sesn_1"]
    assert "WebhookVerificationError" in unwrapped(received, OTHER_SECRET).stderr
