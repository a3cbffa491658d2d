"""`ccproxy-simulator`: listen on loopback and say where, as one JSON line on standard output."""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import socket
import sys

import uvicorn

from shared.log import configure_log
from simulator.app import Simulator

BACKLOG = 2048


def loopback(host: str) -> str:
    """A pretended provider has no business on a network."""
    address = "127.0.0.1" if host == "localhost" else host
    try:
        if ipaddress.ip_address(address).is_loopback:
            return address
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{host} is not a loopback address")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("ccproxy-simulator", description="Strict stand-ins for the providers.")
    parser.add_argument("--host", type=loopback, default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--port", type=int, default=8400, help="0 picks a free one")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse()
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server((options.host, options.port), family=family, backlog=BACKLOG)
    except OSError as error:
        sys.exit(f"ccproxy-simulator: cannot listen on {options.host}:{options.port}: {os.strerror(error.errno or 0)}")
    port = listener.getsockname()[1]
    host = f"[{options.host}]" if family == socket.AF_INET6 else options.host
    sys.stdout.write(json.dumps({"url": f"http://{host}:{port}", "port": port, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    configure_log(level="INFO", style="auto", service="simulator", instance=str(port))
    config = uvicorn.Config(
        Simulator(),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=0,
    )
    with listener:
        uvicorn.Server(config).run([listener])
