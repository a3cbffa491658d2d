"""A network namespace whose only way out is watched: what a program sends to any other host is
counted, and goes nowhere.

The name server is behind the same way, so a program that asks for an address is counted too.
Needs root, `unshare` and `ip`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.namespaces import why_no_namespaces

WHY_NOT = why_no_namespaces("--mount", "--net", programs=("ip", "mount"))

# The neighbour's hardware address is written down, so that a packet leaves without a question.
SCRIPT = """
set -e
ip link set lo up
for each in all default; do echo 1 > /proc/sys/net/ipv6/conf/$each/disable_ipv6; done
ip link add out type veth peer name far
ip address add 192.0.2.1/24 dev out
ip link set out up
ip link set far up
ip neighbour add 192.0.2.2 lladdr 02:00:00:00:00:02 dev out nud permanent
ip route add default via 192.0.2.2
mount --bind "$1" /etc/resolv.conf
counted="$2"
shift 2
code=0
"$@" || code=$?
ip -json -statistics link show out > "$counted"
exit $code
"""


@dataclass(frozen=True)
class Watched:
    """What a program said, how it ended, and how many packets it sent to other hosts."""

    returncode: int
    stdout: str
    stderr: str
    packets: int


def run_watched(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> Watched:
    """Run `command` with `folder` as its working folder, where the watched way is the only one."""
    name_servers = folder / "resolv.conf"
    name_servers.write_text("nameserver 192.0.2.2\noptions timeout:1 attempts:1\n")
    counted = folder / "counted.json"
    apart = ["unshare", "--mount", "--net", "sh", "-c", SCRIPT, "sh", name_servers, counted]
    ended = subprocess.run(
        [*apart, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    [link] = json.loads(counted.read_text())
    packets = link["stats64"]["tx"]["packets"]
    return Watched(ended.returncode, ended.stdout, ended.stderr, packets)
