"""Environments of managed agents: where the tools of a session act.

The vendor starts a container; here an environment names a folder of the owner's machine. `cwd` in
its metadata is a folder below SDK__WORKING_ROOTS, as in a request to `/sdk`; without `cwd` it is
the product's own folder for tools. `worker` chooses workers, as the header `x-ccproxy-worker`. The
worker looks at the folder again before every turn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.managed.agents import metadata_after
from gateway.managed.bodies import (
    CloudConfig,
    EnvironmentBody,
    EnvironmentChanges,
    SelfHostedConfig,
)
from gateway.managed.listing import new_id, page_of_found, time_now
from gateway.managed.objects import (
    LONG_SECONDS,
    TRIES,
    Collection,
    ManagedObjects,
    Put,
)
from gateway.providers.worker_choice import parse_choice
from shared.formats.ir import Json
from shared.runtime.errors import ClientError, Conflict, NotAllowed

ENVIRONMENTS = Collection("environment", "environment", 200, LONG_SECONDS)
FOLDER = "cwd"
WORKER = "worker"
NO_PACKAGES: Json = {name: [] for name in ("apt", "cargo", "gem", "go", "npm", "pip")}


class ManagedEnvironments:
    """The environments of every owner. `roots` are the folders of SDK__WORKING_ROOTS."""

    def __init__(self, objects: ManagedObjects, roots: Sequence[Path]) -> None:
        self._objects = objects
        self._roots = [os.path.normpath(root.expanduser().absolute()) for root in roots]

    async def create(self, owner: str, body: EnvironmentBody) -> Json:
        """Store a new environment. Raises ClientError, NotAllowed for a folder outside of the
        roots, TooLarge.
        """
        self._check_place(body.metadata)
        now = time_now()
        environment: Json = {
            "id": new_id("env"),
            "archived_at": None,
            "config": resolved_config(body.config),
            "created_at": now,
            "description": body.description,
            "metadata": body.metadata,
            "name": body.name,
            "scope": "organization",
            "type": "environment",
            "updated_at": now,
        }
        await self._objects.create(owner, Put(ENVIRONMENTS, environment["id"], environment))
        return environment

    async def find(self, owner: str, environment_id: str) -> Json:
        """Return an environment. Raises NotFound."""
        return (await self._objects.stored(owner, ENVIRONMENTS, environment_id)).object

    async def update(self, owner: str, environment_id: str, changes: EnvironmentChanges) -> Json:
        """Change an environment; existing sessions keep their folder. Raises NotFound, Conflict,
        NotAllowed.
        """

        def change(environment: Json) -> Json:
            if environment["archived_at"]:
                raise Conflict(f"The environment {environment_id!r} is archived.")
            found: Json = {}
            if changes.name:
                found["name"] = changes.name
            if "description" in changes.model_fields_set:
                found["description"] = changes.description
            if changes.config is not None:
                found["config"] = resolved_config(changes.config)
            if changes.metadata is not None:
                # An empty text deletes a key too.
                patch = {key: value or None for key, value in changes.metadata.items()}
                found["metadata"] = metadata_after(environment["metadata"], patch)
                self._check_place(found["metadata"])
            return environment | found | {"updated_at": time_now()}

        return await self._change(owner, environment_id, change)

    async def archive(self, owner: str, environment_id: str) -> Json:
        """Archive an environment: no new session may use it. Raises NotFound."""

        def archived(environment: Json) -> Json:
            return environment | {"archived_at": environment["archived_at"] or time_now()}

        return await self._change(owner, environment_id, archived)

    async def delete(self, owner: str, environment_id: str) -> Json:
        """Delete an environment; existing sessions keep their folder. Raises NotFound."""
        for _ in range(TRIES):
            stored = await self._objects.stored(owner, ENVIRONMENTS, environment_id)
            if await self._objects.delete(owner, ENVIRONMENTS, environment_id, stored.data):
                return {"id": environment_id, "type": "environment_deleted"}
        raise Conflict(f"The environment {environment_id!r} is being changed by others.")

    async def page(
        self, owner: str, *, limit: int, after: str | None, include_archived: bool
    ) -> Json:
        """Return a page of environments, the newest first. Raises ClientError."""
        walk = self._objects.walk(owner, ENVIRONMENTS, after=after, oldest_first=False)
        return await page_of_found(
            walk, limit, lambda found: include_archived or not found["archived_at"]
        )

    def _check_place(self, metadata: dict[str, str]) -> None:
        """Raise ClientError or NotAllowed for a `cwd` forbidden to sessions, and ClientError for a
        `worker` that is no label. The worker resolves links, on the worker's machine.
        """
        parse_choice(metadata.get(WORKER, ""), "metadata.worker")
        folder = metadata.get(FOLDER)
        if folder is None:
            return
        if not os.path.isabs(folder):
            raise ClientError(
                f"metadata.cwd: {folder!r} is not an absolute path.", param="metadata"
            )
        plain = os.path.normpath(folder)
        if not any(Path(plain).is_relative_to(root) for root in self._roots):
            raise NotAllowed(
                f"metadata.cwd: {folder!r} is not below a directory of SDK__WORKING_ROOTS."
            )

    async def _change(
        self, owner: str, environment_id: str, change: Callable[[Json], Json]
    ) -> Json:
        for _ in range(TRIES):
            stored = await self._objects.stored(owner, ENVIRONMENTS, environment_id)
            changed = change(stored.object)
            if await self._objects.write(
                owner, Put(ENVIRONMENTS, environment_id, changed, stored.data)
            ):
                return changed
        raise Conflict(f"The environment {environment_id!r} is being changed by others; try again.")


def resolved_config(config: CloudConfig | SelfHostedConfig | None) -> Json:
    """Return a configuration with every default filled in."""
    if isinstance(config, SelfHostedConfig):
        return {"type": "self_hosted"}
    return {
        "networking": {"type": "unrestricted"},
        "packages": NO_PACKAGES | {"type": "packages"},
        "type": "cloud",
    }
