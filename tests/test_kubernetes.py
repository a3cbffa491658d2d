"""The manifests of deploy/kubernetes where no cluster runs: our own rules, and the same environment
as docker-compose.yml.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from shared.bus.channels import SDK_TURN
from shared.bus.wire import channel_key
from tests.support.compose import ROOT, dockerfile_stages, load

FOLDER = ROOT / "deploy/kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
OBJECTS: list[dict[str, Any]] = [
    each
    for name in KUSTOMIZATION["resources"]
    for each in yaml.safe_load_all((FOLDER / name).read_text())
]
WORKLOADS = {
    each["metadata"]["name"]: each
    for each in OBJECTS
    if each["kind"] in {"Deployment", "StatefulSet"}
}
COMPOSE = load("docker-compose.yml")["services"]
IN_COMPOSE = {
    "gateway": "claude-code-proxy",
    "worker": "sdk-worker",
    "permission-service": "permission-service",
    "analytics": "analytics",
    "valkey": "redis",
}
OURS = [name for name in IN_COMPOSE if name != "valkey"]
# What differs from the compose file, and why.
ONLY_HERE = {
    "SECURITY__AUTH_TOKEN",  # .env has it there
    "CLAUDE_CODE_OAUTH_TOKEN",
    "SERVER__SHUTDOWN_GRACE_SECONDS",  # a pod is replaced while clients wait for it
}
OTHER_VALUES = {"REDIS_HOST", "SECURITY__ALLOWED_HOSTS"}  # names of the network
ONLY_IN_COMPOSE = {"CCPROXY_PUBLISH"}  # the address of the host


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [each for each in OBJECTS if each["kind"] == kind]


def pod_of(workload: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = workload["spec"]["template"]["spec"]
    return pod


def container_of(name: str) -> dict[str, Any]:
    [container] = pod_of(WORKLOADS[name])["containers"]
    assert isinstance(container, dict)
    return container


def labels_of(name: str) -> dict[str, str]:
    labels: dict[str, str] = WORKLOADS[name]["spec"]["template"]["metadata"]["labels"]
    return labels


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Return True if a label selector of Kubernetes matches `labels`."""
    equal = selector.get("matchLabels", {}).items() <= labels.items()
    return equal and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )


def values_of(name: str) -> dict[str, str | None]:
    """Return the environment of a workload's container; None for a value out of a secret."""
    container = container_of(name)
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind("ConfigMap")}
    values: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        values |= maps[source["configMapRef"]["name"]]
    return values | {each["name"]: each.get("value") for each in container["env"]}


def test_every_file_of_the_folder_is_a_resource() -> None:
    files = {path.name for path in FOLDER.glob("*.yaml")}
    assert files == {*KUSTOMIZATION["resources"], "kustomization.yaml"}


def test_the_stack_has_the_services_of_the_compose_file() -> None:
    assert set(WORKLOADS) == set(IN_COMPOSE)
    not_running = {"prepare", "ccproxy"}
    assert set(IN_COMPOSE.values()) == set(COMPOSE) - not_running


@pytest.mark.parametrize("name", IN_COMPOSE)
def test_a_pod_is_confined_as_the_namespace_demands(name: str) -> None:
    pod = pod_of(WORKLOADS[name])
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert container_of(name)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    [namespace] = of_kind("Namespace")
    enforced = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    assert enforced == "restricted"


@pytest.mark.parametrize("name", OURS)
def test_a_pod_runs_as_the_user_of_the_image(name: str) -> None:
    context = pod_of(WORKLOADS[name])["securityContext"]
    values = values_of(name)
    made = re.search(r"useradd --uid (\d+) --gid (\d+)", (ROOT / "Dockerfile").read_text())
    assert made is not None
    user, group = made.groups()
    assert (str(context["runAsUser"]), str(context["runAsGroup"])) == (user, group)
    assert (values["PUID"], values["PGID"]) == (user, group)


@pytest.mark.parametrize("name", IN_COMPOSE)
def test_a_container_has_the_image_and_the_program_of_the_compose_file(name: str) -> None:
    service = COMPOSE[IN_COMPOSE[name]]
    container = container_of(name)
    assert container["image"] == service["image"]
    if name in OURS:
        assert container.get("args") == service.get("command")
        assert "command" not in container, "the image's entry point makes REDIS__URL"
        assert container["image"].partition(":")[2] in dockerfile_stages()


@pytest.mark.parametrize("name", OURS)
def test_a_container_has_the_environment_of_the_compose_file(name: str) -> None:
    here = values_of(name)
    there = COMPOSE[IN_COMPOSE[name]]["environment"]
    assert set(here) - set(there) <= ONLY_HERE
    assert set(there) - set(here) <= ONLY_IN_COMPOSE
    common = (set(here) & set(there)) - OTHER_VALUES
    assert {key: here[key] for key in common} == {key: there[key] for key in common}


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_one_that_the_product_reads(name: str) -> None:
    read = set(re.findall(r"^#? ?([A-Z_0-9]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read |= set(re.findall(r"[A-Z_]{4,}", (ROOT / "deploy/entrypoint.sh").read_text()))
    assert set(values_of(name)) <= read | {"CLAUDE_CODE_OAUTH_TOKEN"}


@pytest.mark.parametrize("name", IN_COMPOSE)
def test_every_volume_is_declared_and_every_folder_that_is_written_has_one(name: str) -> None:
    workload = WORKLOADS[name]
    declared = {each["name"] for each in pod_of(workload)["volumes"]}
    claims = workload["spec"].get("volumeClaimTemplates", [])
    declared |= {each["metadata"]["name"] for each in claims}
    mounts = container_of(name)["volumeMounts"]
    assert {each["name"] for each in mounts} == declared
    writable = {each["mountPath"] for each in mounts if not each.get("readOnly")}
    assert set((values_of(name).get("CCPROXY_WRITES") or "/tmp").split()) <= writable
    assert "/tmp" in writable


def test_every_claim_that_a_pod_names_is_there() -> None:
    claims = {each["metadata"]["name"] for each in of_kind("PersistentVolumeClaim")}
    used = {
        volume["persistentVolumeClaim"]["claimName"]
        for workload in WORKLOADS.values()
        for volume in pod_of(workload)["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert used == claims


@pytest.mark.parametrize("service", of_kind("Service"), ids=lambda each: each["metadata"]["name"])
def test_a_service_selects_one_workload_and_a_port_that_it_has(service: dict[str, Any]) -> None:
    selector = service["spec"]["selector"]
    [name] = [name for name in WORKLOADS if selector.items() <= labels_of(name).items()]
    ports = {each["name"]: each["containerPort"] for each in container_of(name)["ports"]}
    [port] = service["spec"]["ports"]
    assert ports[port["targetPort"]] == port["port"]


def test_the_ports_are_those_of_the_images() -> None:
    [gateway] = container_of("gateway")["ports"]
    assert str(gateway["containerPort"]) == values_of("gateway")["SERVER__PORT"]
    assert f"EXPOSE {gateway['containerPort']}" in (ROOT / "Dockerfile").read_text()
    [valkey] = container_of("valkey")["ports"]
    entry = (ROOT / "deploy/entrypoint.sh").read_text()
    assert f":{valkey['containerPort']}/0" in entry
    services = {each["metadata"]["name"] for each in of_kind("Service")}
    assert values_of("gateway")["REDIS_HOST"] in services


@pytest.mark.parametrize("name", IN_COMPOSE)
def test_a_workload_selects_its_own_pods(name: str) -> None:
    assert selects(WORKLOADS[name]["spec"]["selector"], labels_of(name))
    others = [other for other in IN_COMPOSE if other != name]
    assert not any(
        selects(WORKLOADS[name]["spec"]["selector"], labels_of(other)) for other in others
    )


@pytest.mark.parametrize("name", [name for name in OURS if name != "gateway"])
def test_a_service_without_a_port_is_asked_by_its_own_health_check(name: str) -> None:
    _, *check = COMPOSE[IN_COMPOSE[name]]["healthcheck"]["test"]
    container = container_of(name)
    assert container["readinessProbe"]["exec"]["command"] == check
    liveness = container["livenessProbe"]
    assert liveness["exec"]["command"] == check
    # Valkey may be away for minutes, and that is no reason to end a turn.
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= 600


def test_a_gateway_is_asked_whether_it_lives_under_a_name_that_it_serves() -> None:
    for probe in ("readinessProbe", "livenessProbe"):
        get = container_of("gateway")[probe]["httpGet"]
        assert get["path"] == "/health/live"
        assert get["httpHeaders"] == [{"name": "Host", "value": "localhost"}]


def test_a_pod_that_ends_has_more_time_than_its_program_takes() -> None:
    gateway = pod_of(WORKLOADS["gateway"])
    grace = values_of("gateway")["SERVER__SHUTDOWN_GRACE_SECONDS"]
    assert gateway["terminationGracePeriodSeconds"] > int(grace or 0)
    drain = container_of("worker")["lifecycle"]["preStop"]["exec"]["command"]
    assert "kill -USR1 1" in drain[-1]
    assert pod_of(WORKLOADS["worker"])["terminationGracePeriodSeconds"] >= 900


@pytest.mark.parametrize("name", ["permission-service", "analytics"])
def test_what_may_run_only_once_never_runs_twice(name: str) -> None:
    spec = WORKLOADS[name]["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_an_autoscaler_alone_decides_the_number_of_its_pods() -> None:
    scalers = [*of_kind("HorizontalPodAutoscaler"), *of_kind("ScaledObject")]
    targets = {each["spec"]["scaleTargetRef"]["name"] for each in scalers}
    assert targets == {"gateway", "worker"}
    assert not [name for name in targets if "replicas" in WORKLOADS[name]["spec"]]


def test_workers_are_scaled_by_the_stream_in_which_turns_wait() -> None:
    [scaled] = of_kind("ScaledObject")
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["type"] == "redis-streams"
    assert trigger["metadata"]["stream"] == channel_key(SDK_TURN)
    host, _, port = trigger["metadata"]["address"].partition(":")
    assert host == f"valkey.{KUSTOMIZATION['namespace']}.svc.cluster.local"
    assert int(port) == container_of("valkey")["ports"][0]["containerPort"]
    assert scaled["spec"]["minReplicaCount"] >= 1, "a stream's length wakes no first worker"
    [authentication] = of_kind("TriggerAuthentication")
    assert trigger["authenticationRef"]["name"] == authentication["metadata"]["name"]


def test_keda_objects_have_documented_fields_only() -> None:
    """By the specification of ScaledObject and of the Redis Streams scaler, version 2.22."""
    [scaled] = of_kind("ScaledObject")
    assert set(scaled["spec"]) <= {
        "scaleTargetRef", "pollingInterval", "cooldownPeriod", "initialCooldownPeriod",
        "idleReplicaCount", "minReplicaCount", "maxReplicaCount", "fallback", "advanced",
        "triggers",
    }  # fmt: skip
    assert set(scaled["spec"]["advanced"]) == {"horizontalPodAutoscalerConfig"}
    [trigger] = scaled["spec"]["triggers"]
    assert set(trigger) <= {"type", "metadata", "authenticationRef", "name", "metricType"}
    assert set(trigger["metadata"]) == {"address", "stream", "streamLength"}
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    [authentication] = of_kind("TriggerAuthentication")
    [target] = authentication["spec"]["secretTargetRef"]
    assert set(target) == {"parameter", "name", "key"}


def test_every_secret_that_is_named_is_in_the_example() -> None:
    [generated] = KUSTOMIZATION["secretGenerator"]
    example = (FOLDER / "secrets.env.example").read_text()
    keys = set(re.findall(r"^([a-z-]+)=", example, re.MULTILINE))
    text = "\n".join((FOLDER / name).read_text() for name in KUSTOMIZATION["resources"])
    named = set(re.findall(rf"name: {generated['name']}, key: ([a-z-]+)", text))
    named |= set(re.findall(r"items: \[\{ key: ([a-z-]+)", text))
    assert named == keys
    assert KUSTOMIZATION["generatorOptions"]["disableNameSuffixHash"] is True
    assert not re.findall(r"^[a-z-]+=.+", example, re.MULTILINE), "the example holds no secret"
    assert "deploy/kubernetes/secrets.env" in (ROOT / ".gitignore").read_text()


def test_valkey_starts_as_in_the_compose_file() -> None:
    maps = {each["metadata"]["name"]: each["data"] for each in of_kind("ConfigMap")}
    script = (ROOT / "deploy/redis-entrypoint.sh").read_text()
    assert maps["valkey"]["redis-entrypoint.sh"] == script


def test_nothing_is_reachable_that_no_policy_names() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind("NetworkPolicy")}
    assert policies["deny-all"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name in OURS:
        assert selects(policies["to-the-bus"]["podSelector"], labels_of(name))
        [sources] = policies["bus"]["ingress"]
        assert selects(sources["from"][0]["podSelector"], labels_of(name))
    assert selects(policies["bus"]["podSelector"], labels_of("valkey"))
    assert not selects(policies["outside"]["podSelector"], labels_of("valkey"))
    reached = {
        name
        for name in WORKLOADS
        for policy in policies.values()
        if "ingress" in policy and selects(policy["podSelector"], labels_of(name))
    }
    assert reached == {"gateway", "valkey"}
