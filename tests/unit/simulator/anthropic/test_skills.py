"""Skills: what a folder must hold, and what a version is."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

MAIN = b"---\nname: tidy\ndescription: Tidies.\n---\n"
FILES: Any = [("files[]", ("tidy/SKILL.md", MAIN)), ("files[]", ("tidy/a.py", b"1"))]


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ([("other", ("tidy/SKILL.md", MAIN))], "Extra inputs"),
        ([("files[]", ("tidy/README.md", MAIN))], "SKILL.md file not found"),
        ([("files[]", ("SKILL.md", MAIN))], "same top-level directory"),
        ([*FILES, ("files[]", ("other/b.py", b"1"))], "same top-level directory"),
        ([("files[]", ("tidy/SKILL.md", b"no front matter"))], "description"),
    ],
)
async def test_a_folder_that_is_no_skill_is_refused(
    client: httpx.AsyncClient, files: Any, told: str
) -> None:
    reply = await client.post("/v1/skills", files=files)
    assert reply.status_code == 400
    assert told in reply.json()["error"]["message"]


async def test_a_version_keeps_the_skills_name(client: httpx.AsyncClient) -> None:
    skill = (await client.post("/v1/skills", files=FILES)).json()
    assert skill["display_name"] == "tidy"
    versions = f"/v1/skills/{skill['id']}/versions"
    renamed = [("files[]", ("tidy/SKILL.md", MAIN.replace(b"tidy", b"other")))]
    assert (await client.post(versions, files=renamed)).status_code == 400
    assert (await client.get(f"{versions}/latest")).json()["id"] == skill["latest_version_id"]
    assert (await client.get(f"{versions}/none")).status_code == 404
    assert (await client.get("/v1/skills?source=anthropic")).json()["data"] == []
    assert (await client.get("/v1/skills/none")).status_code == 404
