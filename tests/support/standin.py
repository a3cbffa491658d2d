"""Stand-ins for the services: `standin.py <service>`, so that the launcher is tested on its own.

The gateway answers `/health` on the socket it inherits; the others wait for their end.
`STANDIN_CRASH` names a service that dies at once, `STANDIN_CRASH_INSTANCE` one process of a
service, with `STANDIN_CHILD` each starts a child which would outlive it, `STANDIN_BUSY` is a file
while which exists a worker asked to finish does not. Each sends heartbeats, but for the service
`STANDIN_MUTE` names.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WAITED_FOR = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}


class Gateway(BaseHTTPRequestHandler):
    def do_GET(self):
        checks = {"claude_credentials": [{"status": "pass", "output": "a made-up key"}]}
        body = json.dumps({"status": "pass", "checks": checks, "pid": os.getpid()}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def serve_on_inherited_socket() -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=os.dup(0))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def send_heartbeats() -> None:
    """Send a heartbeat a second for ever, as a service's event loop does."""
    supervisor = os.environ["CCPROXY_HEARTBEAT_SOCKET"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        while True:
            with contextlib.suppress(OSError):
                sender.sendto(str(os.getpid()).encode(), supervisor)
            time.sleep(1)


def main() -> None:
    service = sys.argv[1]
    instance = os.environ.get("CCPROXY_INSTANCE", service)
    sys.stderr.write(
        json.dumps(
            {
                "timestamp": "2026-01-01T00:00:00Z",
                "level": "info",
                "event": "started",
                "instance": service,
            }
        )
        + "\n"
    )
    sys.stderr.flush()
    if (
        os.environ.get("STANDIN_CRASH") == service
        or os.environ.get("STANDIN_CRASH_INSTANCE") == instance
    ):
        sys.exit("this service dies at once")
    if os.environ.get("STANDIN_MUTE") != service:
        threading.Thread(target=send_heartbeats, daemon=True).start()
    if "STANDIN_CHILD" in os.environ:
        subprocess.Popen(["sleep", "600"])
    if service == "gateway":
        serve_on_inherited_socket()
    if signal.sigwait(WAITED_FOR) == signal.SIGUSR1:
        while os.path.exists(os.environ.get("STANDIN_BUSY", "")):  # a turn that is not done
            time.sleep(0.02)
        sys.exit(100)


if __name__ == "__main__":
    # Blocked everywhere, so that it waits in `sigwait` for whichever thread would get it.
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)
    main()
