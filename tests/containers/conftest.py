"""The images, and one running stack on the simulator that the tests of a file share, in their
order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.project import Project, build_image, why_no_engine

TARGETS = ("gateway", "worker", "all-in-one")


@pytest.fixture(scope="session")
def images() -> list[str]:
    """The three images, built from the tree."""
    if reason := why_no_engine():
        pytest.skip(f"These tests need a container engine, and {reason}.")
    return [build_image(target) for target in TARGETS]


def make_folders(folder: Path, owner: int) -> None:
    """Make the folder of a project with empty login folders of `owner`, which root alone can
    choose.
    """
    for login in ("logins/claude", "logins/codex"):
        (folder / login).mkdir(parents=True)
        if os.geteuid() == 0:
            os.chown(folder / login, owner, owner)


@pytest.fixture(scope="module")
def stack(images: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The stack, healthy, and without a login."""
    folder = tmp_path_factory.mktemp("stack")
    owner = os.geteuid() or 1000
    make_folders(folder, owner)
    project = Project(folder, "ccproxy-tests", PUID=str(owner), PGID=str(owner))
    project.take_away_the_made_up_logins()
    project.end()
    try:
        project.up()
        yield project
    finally:
        project.end()
