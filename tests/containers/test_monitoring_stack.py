"""The stack in one container with VictoriaMetrics beside it: what is scraped answers every panel
and alert.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.containers.conftest import make_folders
from tests.containers.project import Project, build_image, docker, free_port, wait_until
from tests.contract.test_monitoring import QUIET, alerts, board
from tests.support.compose import load

pytestmark = [pytest.mark.containers, pytest.mark.timeout(700)]

METRICS_IMAGE = load("docker-compose.monitoring.yml", GRAFANA_PASSWORD="x")["services"][
    "victoria-metrics"
]["image"]
# The same program out of Debian, for a machine that reaches no registry: the official image runs it
# as its entry point.
DEBIAN_IMAGE = """\
FROM python:3.12-slim-bookworm
RUN sed -i s/bookworm/trixie/g /etc/apt/sources.list.d/*.sources && apt-get update \\
    && cd /tmp && apt-get download victoria-metrics && dpkg --extract victoria-metrics_*.deb /
ENTRYPOINT ["/usr/bin/victoria-metrics"]
"""
SCRAPE_SECONDS = 90.0  # a scrape every 15 s, and a new sample is shown 30 s late
OVERRIDE = """\
services:
  victoria-metrics: { ports: !override ["127.0.0.1:PORT:8428"] }
"""


@pytest.fixture(scope="session")
def metrics_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of VictoriaMetrics that the compose file names: the official one if it is here or
    can be had.
    """
    if not docker("images", "--quiet", METRICS_IMAGE).strip():
        docker("pull", "--quiet", METRICS_IMAGE, check=False)
    if not docker("images", "--quiet", METRICS_IMAGE).strip():
        folder = tmp_path_factory.mktemp("metrics")
        (folder / "Dockerfile").write_text(DEBIAN_IMAGE)
        build_image("", folder, tag=METRICS_IMAGE)
    return METRICS_IMAGE


class Monitored:
    """One project with monitoring, and questions to its VictoriaMetrics on `port`."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        owner = os.geteuid() or 1000
        make_folders(folder, owner)
        (folder / "override.yml").write_text(OVERRIDE.replace("PORT", str(self.port)))
        files = ("docker-compose.monitoring.yml", "override.yml")
        variables = {
            "PUID": str(owner),
            "PGID": str(owner),
            "SECURITY__ALLOWED_HOSTS": '["proxy.example"]',
        }
        self.stack = Project(folder, "ccproxy-monitored", *files, **variables)

    def query(self, expression: str) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.port}/api/v1/query"
        answer: dict[str, Any] = httpx.get(
            url, params={"query": expression}, timeout=30, trust_env=False
        ).json()
        return answer

    def results(self, expression: str) -> list[Any]:
        """Return the series that match; none while VictoriaMetrics is not ready."""
        try:
            return list(self.query(expression).get("data", {}).get("result", []))
        except (httpx.HTTPError, ValueError):
            return []


@pytest.fixture(scope="module")
def monitored(
    images: list[str], metrics_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Monitored]:
    """The stack in one container, scraped, and used once through each route."""
    found = Monitored(tmp_path_factory.mktemp("monitored"))
    found.stack.end()
    try:
        found.stack.compose(
            "--profile",
            "all-in-one",
            "up",
            "-d",
            "--wait",
            "ccproxy",
            "simulator",
            "victoria-metrics",
        )
        yield found
    finally:
        found.stack.end()


@pytest.mark.parametrize(
    ("door", "model"),
    [("api", "claude-sonnet-4-5"), ("sdk", "claude-sonnet-4-5"), ("codex", "gpt-5.5")],
)
def test_one_container_answers_through_each_door(monitored, door, model):
    reply = monitored.stack.ask(door, f"Hello through {door}.", model)
    assert reply.status_code == 200, reply.text
    assert f"Hello through {door}." in reply.text


def test_the_one_container_is_scraped_though_the_owner_names_other_hosts(monitored):
    wait_until(lambda: monitored.results("up == 1"), "a scrape that worked", SCRAPE_SECONDS)
    [target] = monitored.results("up")
    assert target["metric"]["instance"] == "claude-code-proxy:8000"


@pytest.mark.parametrize(
    "query", [pytest.param(query, id=str(number)) for number, query in enumerate(board())]
)
def test_every_panel_of_the_dashboard_gets_an_answer(monitored, query):
    answer = monitored.query(query)
    assert answer["status"] == "success", answer


def test_the_panels_show_what_went_through(monitored):
    """A rate needs two scrapes with requests between them."""

    def most_are_shown() -> bool:
        monitored.stack.ask("api", "Something to count.")
        return sum(bool(monitored.results(query)) for query in board()) > len(board()) * 2 / 3

    wait_until(most_are_shown, "two thirds of the panels", 2 * SCRAPE_SECONDS)


@pytest.mark.parametrize(
    "query", [pytest.param(query, id=str(number)) for number, query in enumerate(alerts())]
)
def test_every_alert_gets_an_answer(monitored, query):
    answer = monitored.query(query)
    assert answer["status"] == "success", answer
    if not any(quiet in query for quiet in QUIET):
        assert "data" in answer


def test_one_container_stops_in_order(monitored):
    monitored.stack.compose("--profile", "all-in-one", "stop", "ccproxy")
    [ended] = [
        each for each in monitored.stack.containers(everything=True) if each["Service"] == "ccproxy"
    ]
    assert ended["ExitCode"] == 0
