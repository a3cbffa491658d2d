"""Files of the account: uploaded by a form, listed, described, deleted; only those a tool made can
be downloaded.

A file `file_sim_BYTES` always exists, made by a tool, and has that many bytes.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson

from simulator.anthropic.access import admit
from simulator.anthropic.paging import page_by_cursor, read_query
from simulator.anthropic.problem import AnthropicProblem, refuse
from simulator.anthropic.uploads import read_upload_form
from simulator.exchange import Routes, SimulatedExchange

MAX_FILE_BYTES = 500 * 1024 * 1024
MADE = re.compile(r"file_sim_(\d{1,10})")
FORBIDDEN = re.compile(r'[<>:"|?*\\/\x00-\x1f]')
SHORTEST_LIFE = 3600
LONGEST_LIFE = 7776000
WRITE_BYTES = 256 * 1024
JSON = {"content-type": "application/json"}
LINE = b"simulated file \n"


class Files:
    """The stored files. `routes` are the endpoints; a handler gets the texts in the places of the
    `{…}`.
    """

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}
        self.routes: Routes = {
            ("POST", "/v1/files"): self._upload,
            ("GET", "/v1/files"): self._list,
            ("GET", "/v1/files/{id}"): self._describe,
            ("DELETE", "/v1/files/{id}"): self._delete,
            ("GET", "/v1/files/{id}/content"): self._download,
        }

    async def _upload(self, exchange: SimulatedExchange) -> None:
        admit(exchange.headers)
        parts = await read_upload_form(exchange)
        files = [part for part in parts if part.name == "file" and part.filename is not None]
        if len(files) != 1:
            refuse("file: Field required")
        [file] = files
        for part in parts:
            if part is not file and part.name != "expires_in_seconds":
                refuse(f"{part.name}: Extra inputs are not permitted")
            if part is not file and not is_lifetime(part.data.decode(errors="replace")):
                refuse(
                    f"expires_in_seconds: Input should be between {SHORTEST_LIFE} and "
                    f"{LONGEST_LIFE}"
                )
        name = (file.filename or "").rpartition("/")[2] or "unnamed"
        if len(name) > 255 or FORBIDDEN.search(name):
            refuse("file: the filename must have 1 to 255 characters, none of them forbidden")
        if not file.data:
            refuse("file: the file is empty")
        if len(file.data) > MAX_FILE_BYTES:
            raise AnthropicProblem(413, "File exceeds the maximum size")
        entry = file_entry(
            f"file_{uuid4().hex[:24]}", name, file.media_type, len(file.data), made=False
        )
        self._kept[entry["id"]] = entry
        await exchange.send(200, orjson.dumps(entry), JSON)

    async def _list(self, exchange: SimulatedExchange) -> None:
        admit(exchange.headers)
        asked = read_query(exchange.query, {"ids", "limit", "page", "scope_id"})
        entries = list(reversed(self._kept.values()))
        if wanted := asked.get("ids") or asked.get("ids[]"):
            if asked.keys() & {"page", "limit"}:
                refuse("ids: cannot be used with page or limit")
            entries = [entry for entry in entries if entry["id"] in wanted.split(",")]
        await exchange.send(200, orjson.dumps(page_by_cursor(entries, asked)), JSON)

    async def _describe(self, exchange: SimulatedExchange, file_id: str) -> None:
        admit(exchange.headers)
        await exchange.send(200, orjson.dumps(self._find(file_id)), JSON)

    async def _delete(self, exchange: SimulatedExchange, file_id: str) -> None:
        admit(exchange.headers)
        self._kept.pop(self._find(file_id)["id"], None)
        await exchange.send(200, orjson.dumps({"id": file_id, "type": "file_deleted"}), JSON)

    async def _download(self, exchange: SimulatedExchange, file_id: str) -> None:
        admit(exchange.headers)
        entry = self._find(file_id)
        if not entry["downloadable"]:
            refuse(f"File {file_id} is not downloadable.")
        left = entry["size_bytes"]
        disposition = f'attachment; filename="{entry["filename"]}"'
        headers = {"content-type": entry["mime_type"], "content-disposition": disposition}
        await exchange.open(200, headers | {"content-length": str(left)})
        piece = LINE * (WRITE_BYTES // len(LINE))
        while left > len(piece):
            await exchange.write(piece)
            left -= len(piece)
        await exchange.close(piece[:left])

    def _find(self, file_id: str) -> dict[str, Any]:
        # The name says the size, so files of any size can be downloaded without an upload before.
        if made := MADE.fullmatch(file_id):
            return file_entry(file_id, "made.txt", "text/plain", int(made[1]), made=True)
        if file_id not in self._kept:
            raise AnthropicProblem(404, f"File not found: {file_id}")
        return self._kept[file_id]


def is_lifetime(text: str) -> bool:
    return text.isdigit() and SHORTEST_LIFE <= int(text) <= LONGEST_LIFE


def file_entry(
    file_id: str, name: str, media_type: str, size: int, *, made: bool
) -> dict[str, Any]:
    """Return the service's description of the file."""
    return {
        "type": "file",
        "id": file_id,
        "filename": name,
        "mime_type": media_type,
        "size_bytes": size,
        "created_at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expires_at": None,
        "downloadable": made,
    }
