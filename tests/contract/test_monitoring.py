"""Every expression of the boards and alerts, against what the processes really tell; by a real
Prometheus if there is one.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.bus.channels import AccessRecord
from shared.runtime.metric_snapshots import render_metrics, snapshot_key
from shared.runtime.metrics import (
    AnalyticsMetrics,
    BusMetrics,
    LineMetrics,
    Metrics,
    PermissionMetrics,
    PoolMetrics,
    QuotaMetrics,
)
from tests.support.loopback import LoopbackHandler, serving

MONITORING = Path(__file__).parents[2] / "monitoring"
DASHBOARD = MONITORING / "grafana/dashboards/ccproxy.json"
ALERTS = MONITORING / "grafana/provisioning/alerting/ccproxy.yml"
VARIABLES = {"$service_type": ".*", "$model": ".*", "$__rate_interval": "1m", "$__range": "1m"}
QUIET = ("absent(", "offset 1h")  # nothing is wrong here, and an hour ago nothing was here
DEADLINE_SECONDS = 100.0


pytestmark = pytest.mark.timeout(180)


def filled_in(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


def board() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [filled_in(target["expr"]) for panel in panels for target in panel.get("targets", ())]


def alerts() -> list[str]:
    return [
        json.loads(found) for found in re.findall(r'expr: ("(?:[^"\\]|\\.)*")', ALERTS.read_text())
    ]


class Stack:
    """The metrics of each process, with something in every one of them; each look finds a little
    more.
    """

    def __init__(self) -> None:
        self.gateway, self.worker, self.desk, self.analytics = (
            Metrics(),
            Metrics(),
            Metrics(),
            Metrics(),
        )
        pool, desk, self._analytics = (
            PoolMetrics(self.worker),
            PermissionMetrics(self.desk),
            AnalyticsMetrics(self.analytics),
        )
        quota, bus = QuotaMetrics(self.gateway), BusMetrics(self.gateway)
        bus.connected.set(1)
        LineMetrics(self.gateway).waiting.set(1)
        quota.show([("claude", "5h", 0.5, time.time() + 3600, time.time() + 1800)])
        pool.size.set(1)
        desk.decided.labels("allowed").inc()

    def __call__(self) -> bytes:
        record = AccessRecord(
            "r",
            time.time(),
            "POST",
            endpoint="/api/v1/messages",
            service_type="claude",
            model="opus",
        )
        record.status_code, record.duration_ms, record.first_byte_ms, record.billed_to = (
            200,
            900.0,
            90.0,
            "api_key",
        )
        record.tokens_input, record.tokens_output, record.cache_read_tokens, record.cost_usd = (
            10,
            5,
            30,
            0.25,
        )
        self.gateway.observe(record)
        self._analytics.count_costs([record])
        record.status_code, record.error_kind = 529, "overloaded"
        self.gateway.observe(record)
        processes = {
            "gateway": self.gateway,
            "sdk_worker": self.worker,
            "permission_service": self.desk,
        }
        processes["analytics"] = self.analytics
        return render_metrics(
            {snapshot_key(name, name): each.snapshot() for name, each in processes.items()}
        )


@pytest.mark.parametrize("expression", [*board(), *alerts()])
def test_every_metric_and_label_named_is_told_by_some_process(expression: str) -> None:
    families = list(text_string_to_metric_families(Stack()().decode()))
    labels = {sample.name: set(sample.labels) for family in families for sample in family.samples}
    selectors = re.findall(r"\b((?:ccproxy|process)_\w+)(?:\{([^}]*)\})?", expression)
    assert selectors
    for name, chosen in selectors:
        assert name in labels, f"nobody tells {name}"
        assert set(re.findall(r"(\w+)\s*[=!]", chosen)) <= labels[name]


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no Prometheus is installed")
    folder, stack = tmp_path_factory.mktemp("prometheus"), Stack()

    class Told(LoopbackHandler):
        def do_GET(self) -> None:
            text = stack()
            self.send_response(200)
            self.send_header("content-type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text)

    with serving(Told) as server, socket.create_server(("127.0.0.1", 0)) as free:
        port, target = free.getsockname()[1], f"127.0.0.1:{server.server_port}"
        free.close()
        configuration = folder / "prometheus.yml"
        scraped = {
            "job_name": "ccproxy",
            "scrape_interval": "500ms",
            "static_configs": [{"targets": [target]}],
        }
        configuration.write_text(
            json.dumps({"scrape_configs": [scraped | {"scrape_timeout": "500ms"}]})
        )
        command = [
            program,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
        ]
        listening = f"--web.listen-address=127.0.0.1:{port}"
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen([*command, listening], stdout=log, stderr=log) as process,
            httpx.Client(
                base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False
            ) as client,
        ):
            try:
                wait_for(client, folder / "log")
                yield client
            finally:
                process.terminate()


def wait_for(client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        try:
            if evaluate(client, 'count_over_time(ccproxy_requests_total{status="200"}[1m]) > 2'):
                return
        except (httpx.TransportError, AssertionError):
            pass
        assert time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.1)


def evaluate(client: httpx.Client, expression: str) -> list[object]:
    answer = client.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", answer
    found: list[object] = answer["data"]["result"]
    return found


@pytest.mark.parametrize("expression", board())
def test_every_panel_shows_something(prometheus: httpx.Client, expression: str) -> None:
    assert evaluate(prometheus, expression)


@pytest.mark.parametrize("expression", alerts())
def test_every_alert_can_be_evaluated(prometheus: httpx.Client, expression: str) -> None:
    assert (
        evaluate(prometheus, expression) or expression.startswith(QUIET) or QUIET[1] in expression
    )


def test_the_dashboard_keeps_its_place() -> None:
    found = json.loads(DASHBOARD.read_text())
    assert (found["uid"], found["refresh"]) == ("ccproxy-dashboard", "30s")
    assert {variable["name"] for variable in found["templating"]["list"]} == {
        "datasource",
        "service_type",
        "model",
        "address",
    }
    places = [tuple(panel["gridPos"].values()) for panel in found["panels"]]
    assert len(set(places)) == len(places)


def shown_panels() -> list[dict[str, Any]]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [panel for panel in panels if panel["type"] != "row"]


def test_the_dashboard_imports_into_any_grafana() -> None:
    found = json.loads(DASHBOARD.read_text())
    sources = re.findall(r'"uid": "([^"]+)"', DASHBOARD.read_text())
    assert set(sources) == {"ccproxy-dashboard", "${datasource}"}
    assert found["templating"]["list"][0]["type"] == "datasource"
    assert all(link["url"].startswith("${address}/dashboard") for link in found["links"])


def test_every_panel_has_a_description_and_a_number_of_decimals() -> None:
    for panel in shown_panels():
        assert panel["description"].endswith("."), panel["title"]
        assert "decimals" in panel["fieldConfig"]["defaults"], panel["title"]


def test_no_panel_counts_the_stacks_own_requests() -> None:
    for expression in board():
        for chosen in re.findall(r"\{([^}]*service_type=~[^}]*)\}", expression):
            assert 'service_type!="gateway"' in chosen, expression


def test_no_panel_divides_by_nothing() -> None:
    quotients = [expression for expression in board() if " / " in expression]
    assert quotients
    for expression in quotients:
        assert " > 0)" in expression.partition(" / ")[2], expression
