"""Skills of the account and their versions: folders with a `SKILL.md`, uploaded as forms,
downloaded as archives.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson

from simulator.anthropic.access import admit
from simulator.anthropic.paging import page_by_cursor, read_query
from simulator.anthropic.problem import AnthropicProblem, refuse
from simulator.anthropic.uploads import Uploaded, read_upload_form
from simulator.exchange import Routes, SimulatedExchange

JSON = {"content-type": "application/json"}
FRONT_MATTER = re.compile(r"---\r?\n(.*?)\r?\n---", re.DOTALL)
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(slots=True)
class Skill:
    """A skill; `versions` holds (description, files) by version id, the newest last."""

    id: str
    display_name: str
    slug: str
    created_at: str
    versions: dict[str, tuple[dict[str, Any], list[Uploaded]]] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        return {
            "type": "skill",
            "id": self.id,
            "display_name": self.display_name,
            "source": {"type": "custom"},
            "latest_version_id": next(reversed(self.versions), ""),
            "created_at": self.created_at,
            "updated_at": self.created_at,
        }


class Skills:
    """The stored skills. `routes` are the endpoints; a handler gets the texts in the places of the
    `{…}`.
    """

    def __init__(self) -> None:
        self._kept: dict[str, Skill] = {}
        self.routes: Routes = {
            ("POST", "/v1/skills"): self._create,
            ("GET", "/v1/skills"): self._list,
            ("GET", "/v1/skills/{id}"): self._describe,
            ("DELETE", "/v1/skills/{id}"): self._delete,
            ("POST", "/v1/skills/{id}/versions"): self._add_version,
            ("GET", "/v1/skills/{id}/versions"): self._list_versions,
            ("GET", "/v1/skills/{id}/versions/{version}"): self._describe_version,
            ("DELETE", "/v1/skills/{id}/versions/{version}"): self._delete_version,
            ("GET", "/v1/skills/{id}/versions/{version}/content"): self._download,
        }

    async def _create(self, exchange: SimulatedExchange) -> None:
        admit(exchange.headers)
        files, fields = split_upload(await read_upload_form(exchange), {"display_name"})
        slug, description = read_skill(files)
        skill = Skill(f"skill_{uuid4().hex[:24]}", fields.get("display_name", slug), slug, now())
        keep_version(skill, description, files)
        self._kept[skill.id] = skill
        await exchange.send(200, orjson.dumps(skill.describe()), JSON)

    async def _list(self, exchange: SimulatedExchange) -> None:
        admit(exchange.headers)
        asked = read_query(exchange.query, {"limit", "page", "source"})
        entries = [skill.describe() for skill in reversed(self._kept.values())]
        if asked.get("source") == "anthropic":
            entries = []
        await exchange.send(200, orjson.dumps(page_by_cursor(entries, asked)), JSON)

    async def _describe(self, exchange: SimulatedExchange, skill_id: str) -> None:
        admit(exchange.headers)
        await exchange.send(200, orjson.dumps(self._find(skill_id).describe()), JSON)

    async def _delete(self, exchange: SimulatedExchange, skill_id: str) -> None:
        admit(exchange.headers)
        if self._find(skill_id).versions:
            refuse(f"Skill {skill_id} still has versions; delete them first.")
        del self._kept[skill_id]
        await exchange.send(200, orjson.dumps({"id": skill_id, "type": "skill_deleted"}), JSON)

    async def _add_version(self, exchange: SimulatedExchange, skill_id: str) -> None:
        admit(exchange.headers)
        skill = self._find(skill_id)
        files, _ = split_upload(await read_upload_form(exchange), set())
        slug, description = read_skill(files)
        if slug != skill.slug:
            refuse(f"files: the name in SKILL.md must stay {skill.slug!r}")
        await exchange.send(200, orjson.dumps(keep_version(skill, description, files)), JSON)

    async def _list_versions(self, exchange: SimulatedExchange, skill_id: str) -> None:
        admit(exchange.headers)
        asked = read_query(exchange.query, {"limit", "page"})
        entries = [entry for entry, _ in reversed(self._find(skill_id).versions.values())]
        await exchange.send(200, orjson.dumps(page_by_cursor(entries, asked)), JSON)

    async def _describe_version(
        self, exchange: SimulatedExchange, skill_id: str, version: str
    ) -> None:
        admit(exchange.headers)
        await exchange.send(200, orjson.dumps(self._find_version(skill_id, version)[0]), JSON)

    async def _delete_version(
        self, exchange: SimulatedExchange, skill_id: str, version: str
    ) -> None:
        admit(exchange.headers)
        entry, _ = self._find_version(skill_id, version)
        del self._find(skill_id).versions[entry["id"]]
        await exchange.send(
            200, orjson.dumps({"id": entry["id"], "type": "skill_version_deleted"}), JSON
        )

    async def _download(self, exchange: SimulatedExchange, skill_id: str, version: str) -> None:
        admit(exchange.headers)
        entry, files = self._find_version(skill_id, version)
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as packed:
            for file in files:
                packed.writestr(file.filename or "", file.data)
        disposition = f'attachment; filename="{entry["name"]}.zip"'
        headers = {"content-type": "application/zip", "content-disposition": disposition}
        await exchange.send(200, archive.getvalue(), headers)

    def _find(self, skill_id: str) -> Skill:
        if skill_id not in self._kept:
            raise AnthropicProblem(404, f"Skill not found: {skill_id}")
        return self._kept[skill_id]

    def _find_version(self, skill_id: str, version: str) -> tuple[dict[str, Any], list[Uploaded]]:
        versions = self._find(skill_id).versions
        found = versions.get(next(reversed(versions), "") if version == "latest" else version)
        if found is None:
            raise AnthropicProblem(404, f"Skill version not found: {version}")
        return found


def split_upload(parts: list[Uploaded], known: set[str]) -> tuple[list[Uploaded], dict[str, str]]:
    """Return the files of a form and the `known` fields; any other field is refused."""
    files = [part for part in parts if part.name == "files[]" and part.filename]
    for part in parts:
        if part not in files and part.name not in known:
            refuse(f"{part.name}: Extra inputs are not permitted")
    return files, {part.name: part.data.decode() for part in parts if part not in files}


def read_skill(files: list[Uploaded]) -> tuple[str, str]:
    """Return the name and the description in the folder's SKILL.md."""
    if not files:
        refuse("files: Field required")
    folders = {(file.filename or "").partition("/")[0] for file in files}
    if len(folders) != 1 or any("/" not in (file.filename or "") for file in files):
        refuse("files: all files must be in the same top-level directory")
    [folder] = folders
    main = next((file for file in files if file.filename == f"{folder}/SKILL.md"), None)
    if main is None:
        refuse("files: SKILL.md file not found in the top-level directory")
    found = FRONT_MATTER.match(main.data.decode(errors="replace"))
    lines = (line.partition(":") for line in (found[1] if found else "").splitlines())
    told = {name.strip(): value.strip() for name, _, value in lines}
    slug = told.get("name") or folder
    if not SLUG.fullmatch(slug) or not told.get("description"):
        refuse("files: SKILL.md needs a description and a name in kebab-case")
    return slug, told["description"]


def keep_version(skill: Skill, description: str, files: list[Uploaded]) -> dict[str, Any]:
    """Add a version to `skill` and return the version's description."""
    entry = {
        "type": "skill_version",
        "id": f"skillver_{uuid4().hex[:24]}",
        "skill_id": skill.id,
        "name": skill.slug,
        "description": description,
        "created_at": now(),
    }
    skill.versions[entry["id"]] = (entry, files)
    return entry


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
