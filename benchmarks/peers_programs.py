"""How each program between load and provider is set up and started, in one shape.

Every program gets an empty home of its own, the one provider of the measurement as its only
provider, and a made-up key. None writes a log of requests or metrics unless it says so below;
CCProxy does, as it is delivered. All are started as one process of their server where they can be.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import gateways
from benchmarks.gateways import BIN, MEASURED, Program, free_port
from benchmarks.peers_packages import (
    CCPROXY_API,
    LAMINAR,
    LITELLM,
    PORTKEY,
    ROUTER,
    TENSORZERO,
    Package,
)

KEY = gateways.TOKEN
MODELS = ("bench-whole", "bench-burst", "bench-paced")
Words = Sequence[str | Path]  # of a command
READY_SECONDS = 120
STOP_SECONDS = 15


@dataclass(frozen=True)
class Site:
    """Where one program runs: an empty folder, the provider's port, and its installation."""

    home: Path
    upstream: int
    installed: Path = Path()

    @property
    def provider(self) -> str:
        return f"http://127.0.0.1:{self.upstream}"


Start = Callable[[Site], AbstractContextManager[Program]]


@dataclass(frozen=True)
class Peer:
    """One program: `paths` of the formats that it takes, and how it names a model and asks for a
    key; `setup` tells the page what it is set to.
    """

    name: str
    start: Start
    setup: str
    paths: Mapping[str, str]
    package: Package | None = None
    model: str = "{}"
    headers: Mapping[str, str] = field(default_factory=dict)


def environment(site: Site, *folders: Path | str, **more: str) -> dict[str, str]:
    """Return the whole environment of a program: its home, a PATH of `folders`, and `more`."""
    path = os.pathsep.join(str(folder) for folder in folders)
    return {"HOME": str(site.home), "PATH": path, "LANG": "C.UTF-8", **more}


@contextlib.contextmanager
def launched(
    name: str, command: Words, site: Site, port: int, given: Mapping[str, str]
) -> Iterator[Program]:
    """Run a program on the measured core, in a session of its own which ends with it."""
    with (site.home / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=site.home,
            env=dict(given),
            preexec_fn=lambda: os.sched_setaffinity(0, MEASURED),  # noqa: PLW1509 - no threads yet
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield Program(name, port, [process.pid])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def start_stack(site: Site) -> AbstractContextManager[Program]:
    port = free_port()
    given = environment(
        site,
        BIN,
        "/usr/bin",
        "/bin",
        SERVER__PORT=str(port),
        SERVER__RUN_DIR=str(site.home / "run"),
        CLAUDE__BASE_URL=site.provider,
        CLAUDE__API_KEY=KEY,
        CODEX__API_BASE_URL=f"{site.provider}/v1",
        CODEX__API_KEY=KEY,
        SECURITY__AUTH_TOKEN=KEY,
    )
    return launched("CCProxy", [BIN / "ccproxy", "serve"], site, port, given)


def start_gateway(site: Site) -> AbstractContextManager[Program]:
    return gateways.gateway(
        site.upstream,
        site.home,
        "gateway",
        OBSERVABILITY__ENABLED="false",
        CODEX__API_BASE_URL=f"{site.provider}/v1",
        CODEX__API_KEY=KEY,
    )


def start_nginx(site: Site) -> AbstractContextManager[Program]:
    return gateways.nginx(site.upstream, site.home)


def start_bare(site: Site) -> AbstractContextManager[Program]:
    return gateways.bare(site.upstream)


def start_ccproxy_api(site: Site) -> AbstractContextManager[Program]:
    """Start it with made-up logins, and with what it would copy from a client's own requests
    switched off.
    """
    port = free_port()
    write_made_up_logins(site.home)
    given = environment(
        site,
        site.installed / "bin",  # with no `npx` on PATH it looks for no program at its start
        PLUGINS__CLAUDE_API__BASE_URL=site.provider,
        PLUGINS__CLAUDE_API__SYSTEM_PROMPT_INJECTION_MODE="none",
        PLUGINS__CODEX__BASE_URL=f"{site.provider}/backend-api/codex",
        PLUGINS__CODEX__INJECT_DETECTION_PAYLOAD="false",
    )
    command: Words = [
        site.installed / "bin/ccproxy",
        "serve",
        "--port",
        str(port),
        "--log-level",
        "ERROR",
    ]
    return launched("ccproxy-api", command, site, port, given)


def write_made_up_logins(home: Path) -> None:
    later = time.time() + 86_400
    claude = {
        "accessToken": KEY,
        "refreshToken": KEY,
        "expiresAt": int(later * 1000),
        "scopes": ["user:inference"],
        "subscriptionType": "max",
    }
    account = {"chatgpt_account_id": "bench"}
    claims = {"exp": int(later), "sub": "bench", "https://api.openai.com/auth": account}
    token = ".".join([base64_of({"alg": "none"}), base64_of(claims), "none"])
    tokens = {
        "id_token": token,
        "access_token": token,
        "refresh_token": KEY,
        "account_id": "bench",
    }
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    codex = {"OPENAI_API_KEY": None, "tokens": tokens, "last_refresh": now}
    write_json(home / ".claude/.credentials.json", {"claudeAiOauth": claude})
    write_json(home / ".codex/auth.json", codex)


def base64_of(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def start_litellm(site: Site) -> AbstractContextManager[Program]:
    port = free_port()
    models = [
        {"model_name": name, "litellm_params": {"model": f"anthropic/{name}", **provider}}
        for provider in ({"api_base": site.provider, "api_key": KEY},)
        for name in MODELS
    ]
    codex = {"model": "openai/bench-burst", "api_base": f"{site.provider}/v1", "api_key": KEY}
    config = site.home / "litellm.yaml"  # JSON is YAML
    write_json(
        config,
        {
            "model_list": [*models, {"model_name": "codex-bench-burst", "litellm_params": codex}],
            "general_settings": {"master_key": KEY},
            "litellm_settings": {"telemetry": False, "num_retries": 0},
            "router_settings": {"disable_cooldowns": True, "num_retries": 0},
        },
    )
    given = environment(
        site,
        site.installed / "bin",
        "/usr/bin",
        "/bin",
        LITELLM_MODE="PRODUCTION",
        LITELLM_LOG="ERROR",
        LITELLM_LOCAL_MODEL_COST_MAP="True",
        ANTHROPIC_API_BASE=site.provider,
        ANTHROPIC_API_KEY=KEY,
    )
    address = ["--host", "127.0.0.1", "--port", str(port)]
    command: Words = [
        site.installed / "bin/litellm",
        "--config",
        config,
        *address,
        "--num_workers",
        "1",
    ]
    return launched("LiteLLM", command, site, port, given)


TENSORZERO_STARTER = """
import pathlib, sys, threading
from tensorzero import _start_http_gateway
running = _start_http_gateway(config_file=sys.argv[1], clickhouse_url=None, postgres_url=None,
    valkey_url=None, async_setup=False)
pathlib.Path(sys.argv[2] + ".new").write_text(running.base_url)
pathlib.Path(sys.argv[2] + ".new").rename(sys.argv[2])
threading.Event().wait()
"""
TENSORZERO_MODEL = """
[models.{model}]
routing = ["provider"]
[models.{model}.providers.provider]
type = "anthropic"
model_name = "{model}"
api_base = "{provider}/v1"
api_key_location = "env::BENCH_KEY"
"""


@contextlib.contextmanager
def start_tensorzero(site: Site) -> Iterator[Program]:
    """Start the gateway that the wheel holds; it picks a port of its own."""
    config = site.home / "tensorzero.toml"
    address = site.home / "address"
    models = [
        TENSORZERO_MODEL.format(model=model, provider=site.provider).strip() for model in MODELS
    ]
    head = "[gateway]\ndisable_pseudonymous_usage_analytics = true\nobservability.enabled = false"
    config.write_text("\n".join([head, *models]) + "\n")
    given = environment(site, "/usr/bin", "/bin", BENCH_KEY=KEY)
    python = site.installed / "bin/python"
    command: Words = [python, "-c", TENSORZERO_STARTER, str(config), str(address)]
    with launched("TensorZero", command, site, 0, given) as program:
        late = time.monotonic() + READY_SECONDS
        while not address.exists() and time.monotonic() < late:
            time.sleep(0.01)
        program.port = int(address.read_text().rpartition(":")[2].partition("/")[0])
        yield program


def start_portkey(site: Site) -> AbstractContextManager[Program]:
    port = free_port()
    server = site.installed / "node_modules/@portkey-ai/gateway/build/start-server.js"
    given = environment(
        site, "/usr/bin", "/bin", NODE_ENV="production", TRUSTED_CUSTOM_HOSTS="127.0.0.1"
    )
    command: Words = [node(), server, f"--port={port}", "--headless"]
    return launched("Portkey", command, site, port, given)


def start_router(site: Site) -> AbstractContextManager[Program]:
    port = free_port()
    provider = {
        "name": "provider",
        "api_base_url": f"{site.provider}/v1/messages",
        "api_key": KEY,
        "models": MODELS,
        "transformer": {"use": ["Anthropic"]},
    }
    config = {
        "LOG": False,
        "HOST": "127.0.0.1",
        "PORT": port,
        "NON_INTERACTIVE_MODE": True,
        "Providers": [provider],
        "Router": {"default": f"provider,{MODELS[0]}"},
    }
    write_json(site.home / ".claude-code-router/config.json", config)
    program = site.installed / "node_modules/@musistudio/claude-code-router/dist/cli.js"
    given = environment(site, "/usr/bin", "/bin", NODE_ENV="production")
    return launched("claude-code-router", [node(), program, "start"], site, port, given)


LAMINAR_STARTER = """
const {ProxyServer} = require(process.argv[1]);
new ProxyServer(Number(process.argv[2])).runServer(process.argv[3]);
"""


def start_laminar(site: Site) -> AbstractContextManager[Program]:
    port = free_port()
    library = site.installed / "node_modules/@lmnr-ai/claude-code-proxy"
    command: Words = [node(), "-e", LAMINAR_STARTER, library, str(port), site.provider]
    given = environment(site, "/usr/bin", "/bin", NODE_ENV="production")
    return launched("Laminar's proxy", command, site, port, given)


def node() -> str:
    return shutil.which("node") or "node"


ANTHROPIC = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
BEARER = {"authorization": f"Bearer {KEY}"}
OWN_PATHS = {
    "messages": "/api/v1/messages",
    "chat": "/api/v1/chat/completions",
    "responses": "/codex/v1/responses",
}
PLAIN_PATHS = {"messages": "/v1/messages", "responses": "/v1/responses"}

PEERS = (
    Peer(
        "CCProxy",
        start_stack,
        "`ccproxy serve` as it is delivered, with a token of its own asked of clients: supervisor, "
        "Redis, gateway, analytics, permission service and worker count together; the log, a "
        "record of each request in DuckDB, metrics, quota and cost are on",
        OWN_PATHS,
        headers=ANTHROPIC,
    ),
    Peer(
        "CCProxy's gateway alone",
        start_gateway,
        "`ccproxy-gateway` with `OBSERVABILITY__ENABLED=false`, which is what the others do: no "
        "record of requests; the gateway's process counts, Redis beside it does not",
        OWN_PATHS,
        headers=ANTHROPIC,
    ),
    Peer(
        "nginx",
        start_nginx,
        "one worker, kept-alive connections to the provider, no buffering, no log",
        PLAIN_PATHS,
    ),
    Peer(
        "bare ASGI + aiohttp",
        start_bare,
        "uvicorn with uvloop and httptools, and forty lines that pass bytes on: what our libraries "
        "cost with no product in them",
        PLAIN_PATHS,
    ),
    Peer(
        "ccproxy-api",
        start_ccproxy_api,
        "the predecessor's last package, its default plugins, `--log-level ERROR`; made-up logins; "
        "the prompts and instructions that it copies from clients are switched off",
        {
            "messages": "/claude/v1/messages",
            "chat": "/claude/v1/chat/completions",
            "responses": "/codex/v1/responses",
        },
        package=CCPROXY_API,
    ),
    Peer(
        "LiteLLM",
        start_litellm,
        "the proxy with `LITELLM_MODE=PRODUCTION`, one worker, no database, no callbacks, its "
        "master key asked of clients; Messages by its pass-through `/anthropic`, which took "
        "less CPU time here than its `/v1/messages`",
        {
            "messages": "/anthropic/v1/messages",
            "chat": "/v1/chat/completions",
            "responses": "/v1/responses",
        },
        package=LITELLM,
        headers=BEARER,
    ),
    Peer(
        "Portkey",
        start_portkey,
        "`NODE_ENV=production`, `--headless`; provider and address by its request headers; its "
        "streams end in a `TypeError` about immutable headers on Node 20, with each of seven "
        "versions of its server library",
        {"messages": "/v1/messages", "chat": "/v1/chat/completions"},
        package=PORTKEY,
        headers={
            **ANTHROPIC,
            **BEARER,
            "x-portkey-provider": "anthropic",
            "x-portkey-custom-host": "{provider}/v1",
        },
    ),
    Peer(
        "claude-code-router",
        start_router,
        "`LOG` off, one provider with its `Anthropic` transformer, which passes bodies on",
        {"messages": "/v1/messages"},
        package=ROUTER,
        model="provider,{}",
    ),
    Peer(
        "TensorZero",
        start_tensorzero,
        "the Rust gateway inside its Python wheel, observability and usage analytics off; it takes "
        "Chat Completions only",
        {"chat": "/openai/v1/chat/completions"},
        package=TENSORZERO,
        model="tensorzero::model_name::{}",
    ),
    Peer(
        "Laminar's proxy",
        start_laminar,
        "the Rust proxy inside its Node package, with no trace set, so that nothing is reported",
        {"messages": "/v1/messages"},
        package=LAMINAR,
        headers=ANTHROPIC,
    ),
)
