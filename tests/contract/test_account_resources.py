"""The official Anthropic SDK at `/api`: batches, files, skills and models over the strict
simulator.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.contract.conftest import OpenGateway
from tests.support.simulator_fixture import API_KEY, OAUTH_TOKEN, GroundTruth

SKILL = b"---\nname: tidy-tables\ndescription: Makes tables tidy.\n---\nAlign the columns.\n"
HELLO: Any = {
    "model": "claude-haiku-5-5",
    "max_tokens": 50,
    "messages": [{"role": "user", "content": "hello"}],
}
LOGIN = {"accessToken": OAUTH_TOKEN, "refreshToken": "sk-ant-ort01-x", "scopes": ["user:inference"]}
LARGE = 40 * 1024 * 1024  # beyond what any other request may have


@pytest.fixture(params=["key", "login"])
async def client(
    request: pytest.FixtureRequest,
    open_gateway_at: OpenGateway,
    simulator: GroundTruth,
    tmp_path: Path,
) -> AsyncIterator[anthropic.AsyncAnthropic]:
    settings: dict[str, Any] = {"api_key": API_KEY}
    if request.param == "login":
        login = tmp_path / "login.json"
        login.write_text(
            json.dumps({"claudeAiOauth": LOGIN | {"expiresAt": int((time.time() + 3600) * 1000)}})
        )
        settings = {"api_key": None, "credentials_file": login}
    url = await open_gateway_at(claude=settings)
    async with anthropic.AsyncAnthropic(
        base_url=f"{url}/api", api_key="unused", max_retries=0
    ) as opened:
        yield opened


async def test_a_batch_lives_from_its_creation_to_its_deletion(
    client: anthropic.AsyncAnthropic,
) -> None:
    requests: Any = [
        {"custom_id": "good", "params": HELLO},
        {"custom_id": "bad", "params": HELLO | {"surprise": 1}},
    ]
    batch = await client.messages.batches.create(requests=requests)
    assert (batch.processing_status, batch.results_url) == ("in_progress", None)
    results = {
        line.custom_id: line.result
        async for line in await client.messages.batches.results(batch.id)
    }
    assert results["good"].type == "succeeded"
    assert results["good"].message.content[0].to_dict()["text"] == "You said: hello"
    assert results["bad"].type == "errored"
    assert "surprise" in results["bad"].error.error.message
    ended = await client.messages.batches.retrieve(batch.id)
    assert str(ended.results_url).startswith(str(client.base_url))
    assert batch.id in [each.id async for each in client.messages.batches.list(limit=1)]
    assert (await client.messages.batches.delete(batch.id)).type == "message_batch_deleted"
    with pytest.raises(anthropic.NotFoundError, match="not found"):
        await client.messages.batches.retrieve(batch.id)


@pytest.mark.long
async def test_a_batch_is_cancelled(client: anthropic.AsyncAnthropic) -> None:
    batch = await client.messages.batches.create(requests=[{"custom_id": "one", "params": HELLO}])
    assert (await client.messages.batches.cancel(batch.id)).processing_status == "canceling"
    lines = [line async for line in await client.messages.batches.results(batch.id)]
    assert [line.result.type for line in lines] == ["canceled"]


@pytest.mark.parametrize("size", [5, LARGE])
async def test_a_file_is_uploaded_listed_and_deleted(
    client: anthropic.AsyncAnthropic, simulator: GroundTruth, size: int
) -> None:
    file = await client.beta.files.upload(
        file=("notes.txt", b"x" * size, "text/plain"), betas=["files-api-2025-04-14"]
    )
    assert (file.filename, file.mime_type, file.size_bytes) == ("notes.txt", "text/plain", size)
    assert "files-api-2025-04-14" in str(simulator.last("/v1/files").header("anthropic-beta"))
    assert (await client.beta.files.retrieve_metadata(file.id)).id == file.id
    assert file.id in [each.id async for each in client.beta.files.list(limit=1)]
    with pytest.raises(anthropic.BadRequestError, match="not downloadable"):
        await client.beta.files.download(file.id)
    assert (await client.beta.files.delete(file.id)).id == file.id


@pytest.mark.long
async def test_a_file_of_any_size_is_downloaded(client: anthropic.AsyncAnthropic) -> None:
    size = 80 * 1024 * 1024  # beyond what a reply that is held may have
    got = 0
    async with client.beta.files.with_streaming_response.download(f"file_sim_{size}") as reply:
        assert 'filename="made.txt"' in reply.headers["content-disposition"]
        async for chunk in reply.iter_bytes():
            got += len(chunk)
    assert got == size


@pytest.mark.long
async def test_a_skill_and_its_versions(client: anthropic.AsyncAnthropic) -> None:
    files: Any = [
        ("tidy-tables/SKILL.md", SKILL, "text/markdown"),
        ("tidy-tables/run.py", b"print()", "text/x-python"),
    ]
    skill = await client.beta.skills.create(files=files, display_name="Tidy tables")
    again = await client.beta.skills.versions.create(skill.id, files=files)
    assert (again.name, again.description) == ("tidy-tables", "Makes tables tidy.")
    assert (await client.beta.skills.retrieve(skill.id)).latest_version_id == again.id
    versions = [version.id async for version in client.beta.skills.versions.list(skill.id, limit=1)]
    assert versions == [again.id, skill.latest_version_id]
    archive = await client.beta.skills.versions.download("latest", skill_id=skill.id)
    assert (await archive.read()).startswith(b"PK")
    with pytest.raises(anthropic.BadRequestError, match="still has versions"):
        await client.beta.skills.delete(skill.id)
    for version in versions:
        await client.beta.skills.versions.delete(version, skill_id=skill.id)
    assert (await client.beta.skills.delete(skill.id)).type == "skill_deleted"
    assert skill.id not in [each.id async for each in client.beta.skills.list()]


@pytest.mark.long
async def test_models_are_listed_in_pages_and_described(client: anthropic.AsyncAnthropic) -> None:
    everything = [model.id async for model in client.models.list(limit=1000)]
    assert [model.id async for model in client.models.list(limit=3)] == everything
    page = await client.models.list(limit=2, before_id=everything[5])
    assert [model.id for model in page.data] == everything[3:5]
    assert (await client.models.retrieve(everything[0])).id == everything[0]
    active = [model.id async for model in client.models.list(lifecycle=["active"])]
    assert 0 < len(active) < len(everything)
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        await client.models.list(limit=0)
