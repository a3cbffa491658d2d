"""`ccproxy-simulator`: listen on loopback and say where, as one JSON line on standard output.

A pretended provider has no business on a network: anybody who reached it could pose as a provider's
customer. The one exception is asked for by name, `--internal-network`, for containers whose network
has no way out.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import socket
import sys
from pathlib import Path

import uvicorn

from shared.captures.bundle import read_bundle
from shared.captures.capture import Capture, NotACapture
from shared.runtime.log import configure_log
from simulator.app import Simulator
from simulator.replay import played_places

BACKLOG = 2048


def ip_address(host: str) -> str:
    """Return `host` as an IP address. Raises ArgumentTypeError for any other name than
    localhost.
    """
    address = "127.0.0.1" if host == "localhost" else host
    try:
        ipaddress.ip_address(address)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{host} is not an IP address") from None
    return address


def read_replay(name: str) -> list[Capture]:
    """Return the captured requests of the bundle in a file. Raises ArgumentTypeError."""
    try:
        return read_bundle(Path(name).read_bytes())
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{name}: {error.strerror}") from error
    except NotACapture as error:
        raise argparse.ArgumentTypeError(f"{name}: {error.message}") from error


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Return the options of the command line; end the program for an address beyond loopback that
    was not asked for.
    """
    parser = argparse.ArgumentParser(
        "ccproxy-simulator", description="Strict stand-ins for the providers."
    )
    parser.add_argument(
        "command", nargs="?", choices=["serve"], help="the only command, and the default"
    )
    parser.add_argument(
        "--host", type=ip_address, default="127.0.0.1", help="loopback address to listen on"
    )
    parser.add_argument("--port", type=int, default=8400, help="0 picks a free one")
    parser.add_argument(
        "--internal-network",
        action="store_true",
        help="let --host be any address; only for a container on a network without a way out",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="do not print the address once the socket listens"
    )
    parser.add_argument(
        "--replay",
        type=read_replay,
        metavar="FILE",
        help="play the answers of a bundle that `ccproxy capture bundle` made",
    )
    options = parser.parse_args(arguments)
    if not (options.internal_network or ipaddress.ip_address(options.host).is_loopback):
        parser.error(f"{options.host} is not a loopback address; see --internal-network")
    return options


def main() -> None:
    options = parse_arguments()
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:
        listener = socket.create_server(
            (options.host, options.port), family=family, backlog=BACKLOG
        )
    except OSError as error:
        sys.exit(
            f"ccproxy-simulator: cannot listen on {options.host}:{options.port}: "
            f"{os.strerror(error.errno or 0)}"
        )
    port = listener.getsockname()[1]
    host = f"[{options.host}]" if family == socket.AF_INET6 else options.host
    # The socket listens already: whoever reads this line can connect at once.
    if not options.quiet:
        place = {"url": f"http://{host}:{port}", "port": port, "pid": os.getpid()}
        if options.replay is not None:
            place["replay"] = played_places(options.replay)
        sys.stdout.write(json.dumps(place) + "\n")
        sys.stdout.flush()
    configure_log(level="INFO", style="auto", service="simulator", instance=str(port))
    config = uvicorn.Config(
        Simulator(replay=options.replay),
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
