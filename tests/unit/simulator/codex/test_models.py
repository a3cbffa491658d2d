from __future__ import annotations

from tests.unit.simulator.codex.conftest import Door, backend_body

MODELS = "/backend-api/codex/models"


async def test_the_list_depends_on_the_clients_version(backend: Door) -> None:
    new = (await backend.client.get(MODELS, params={"client_version": "0.169.0"})).json()["models"]
    old = (await backend.client.get(MODELS, params={"client_version": "0.120.0"})).json()["models"]
    assert "gpt-6.1-sol" in {model["slug"] for model in new}
    assert {model["slug"] for model in old} == {
        "gpt-5.5",
        "gpt-5.6-sol",
        "gpt-5.6-terra",
        "gpt-5.6-luna",
    }


async def test_a_version_is_required(backend: Door) -> None:
    assert (await backend.client.get(MODELS)).status_code == 400


async def test_an_unchanged_list_is_304(backend: Door) -> None:
    first = await backend.client.get(MODELS, params={"client_version": "0.169.0"})
    headers = {"if-none-match": first.headers["etag"]}
    again = await backend.client.get(MODELS, params={"client_version": "0.169.0"}, headers=headers)
    assert (again.status_code, again.content) == (304, b"")


async def test_an_unknown_model_is_refused_in_each_doors_words(backend: Door, public: Door) -> None:
    reply = await backend.post(backend_body(model="gpt-4o"))
    said = "The 'gpt-4o' model is not supported when using Codex with a ChatGPT account."
    assert (reply.status_code, reply.json()) == (400, {"detail": said})
    other = await public.post({"model": "gpt-4o", "input": "hi"})
    assert (other.status_code, other.json()["error"]["code"]) == (404, "model_not_found")


async def test_the_public_list_is_openais(public: Door) -> None:
    listed = (await public.client.get("/v1/models")).json()
    assert listed["object"] == "list"
    assert {"id", "object", "created", "owned_by"} == set(listed["data"][0])
