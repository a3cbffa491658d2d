"""Files: what a form must be, and what can be downloaded."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

TEXT: Any = ("a.txt", b"hello", "text/plain")


@pytest.mark.parametrize(
    ("files", "fields", "told"),
    [
        ({"document": TEXT}, {}, "file: Field required"),
        ([("file", TEXT), ("file", TEXT)], {}, "file: Field required"),
        ({"file": ("a|b", b"x")}, {}, "filename"),
        ({"file": ("a", b"")}, {}, "empty"),
        ({"file": TEXT}, {"expires_in_seconds": "60"}, "expires_in_seconds"),
        ({"file": TEXT}, {"purpose": "x"}, "Extra inputs"),
    ],
)
async def test_a_form_that_is_no_upload_is_refused(
    client: httpx.AsyncClient, files: Any, fields: dict[str, str], told: str
) -> None:
    reply = await client.post("/v1/files", files=files, data=fields)
    assert reply.status_code == 400
    assert told in reply.json()["error"]["message"]


async def test_a_file_is_found_among_those_that_are_asked_for(client: httpx.AsyncClient) -> None:
    file = (
        await client.post("/v1/files", files={"file": TEXT}, data={"expires_in_seconds": "3600"})
    ).json()
    assert (file["filename"], file["size_bytes"], file["downloadable"]) == ("a.txt", 5, False)
    for query, count in ((f"ids[]={file['id']}", 1), ("ids[]=file_other", 0), ("limit=1", 1)):
        assert len((await client.get(f"/v1/files?{query}")).json()["data"]) == count
    assert (await client.get(f"/v1/files?ids[]={file['id']}&limit=1")).status_code == 400
    assert (await client.get(f"/v1/files/{file['id']}/content")).status_code == 400
    assert (await client.get("/v1/files/file_none")).status_code == 404


async def test_a_file_that_a_tool_made_has_the_size_in_its_name(client: httpx.AsyncClient) -> None:
    reply = await client.get("/v1/files/file_sim_300000/content")
    assert len(reply.content) == 300_000
    assert reply.headers["content-disposition"] == 'attachment; filename="made.txt"'
