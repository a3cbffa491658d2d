"""`ccproxy-alive SERVICE`: a container's health check. It looks at the process in the same
container, not at the stack.

The gateway must answer on its port. Every other service must have touched the file of
`shared/runtime/alive_file.py` a short while ago. The check runs every thirty seconds in each
container, so this module imports only small parts of the standard library and reads no settings:
one check costs about 0.03 s of CPU.
"""

from __future__ import annotations

import os
import socket
import sys
import time

from ccproxy.cli.exits import FAILED, USAGE
from shared.runtime.alive_file import ALIVE_FILE

ANSWER_SECONDS = 10.0
SILENT_SECONDS = 15.0  # fifteen heartbeats of the bus
USUAL_PORT = "8000"
QUESTION = b"GET /health/live HTTP/1.0\r\nhost: localhost\r\n\r\n"


def main() -> None:
    """End with exit code 0 when the service named on the command line is well, else with a
    sentence.
    """
    if len(sys.argv) != 2:
        sys.stderr.write("Usage: ccproxy-alive gateway|sdk_worker|permission_service|analytics\n")
        raise SystemExit(USAGE)
    service = sys.argv[1]
    if service == "gateway":
        problem = gateway_problem(int(os.environ.get("SERVER__PORT", USUAL_PORT)))
    else:
        problem = silence_problem(service, os.environ.get(ALIVE_FILE, ""))
    if problem:
        sys.stderr.write(f"{problem}\n")
        raise SystemExit(FAILED)


def gateway_problem(port: int) -> str:
    """Return the problem of the gateway on this machine's `port`, or an empty string for a healthy
    gateway.
    """
    try:
        with socket.socket() as connection:  # create_connection would load the codec of host names
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(("127.0.0.1", port))
            connection.sendall(QUESTION)
            answer = connection.recv(1024)
    except OSError as error:
        return f"The gateway does not answer on port {port}: {error}"
    status_line = answer.partition(b"\r\n")[0]
    if status_line.split(b" ")[1:2] != [b"200"]:
        return f"The gateway answers {status_line.decode('latin-1') or 'nothing'!r} on port {port}."
    return ""


def silence_problem(service: str, alive_file: str) -> str:
    """Return why `service` does not seem to work, judged by the age of its file, or an empty
    string.
    """
    if not alive_file:
        return f"{ALIVE_FILE} is not set; only CCProxy's container images set it."
    try:
        age = time.time() - os.stat(alive_file).st_mtime
    except OSError:
        return f"{service} has not reached Redis yet."
    if age > SILENT_SECONDS:
        return f"{service} hangs, or has lost Redis: its last heartbeat is {age:.0f} s old."
    return ""
