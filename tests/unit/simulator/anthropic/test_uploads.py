"""Multipart bodies."""

from __future__ import annotations

import httpx
import pytest


@pytest.mark.parametrize(
    "kind",
    ["application/json", "multipart/form-data", "multipart/form-data; boundary=other"],
    ids=str,
)
async def test_a_body_that_is_no_form_is_refused(client: httpx.AsyncClient, kind: str) -> None:
    reply = await client.post(
        "/v1/files", content=b"--x\r\n\r\n--x--", headers={"content-type": kind}
    )
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_request_error"
