"""The programs of other projects that are measured beside the gateway: one table of packages and
versions, and how each is installed.

A package is installed on demand, in a folder of its own in the user's cache, never in the
repository. What the registries do not give is no error: the reason goes to the page.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALL_SECONDS = 900
STAMP = "installed"
ADDRESS = re.compile(r"\S*://\S*")
NOISE = re.compile(r"^(npm (error|warn)( code| notarget| 404)?|ERROR:|WARNING:.*)\s*")


@dataclass(frozen=True)
class Package:
    """A published program: `extras` are optional parts of it, `others` are packages beside it."""

    program: str
    kind: str
    name: str
    version: str
    extras: str = ""
    others: Mapping[str, str] | None = None

    def folder(self) -> Path:
        return cache() / re.sub(r"\W+", "-", f"{self.name}-{self.version}").strip("-")


CCPROXY_API = Package(
    "ccproxy-api", "python", "ccproxy-api", "0.2.10", extras="[plugins-claude,plugins-codex]"
)
LITELLM = Package("LiteLLM", "python", "litellm", "1.106.2", extras="[proxy]")
TENSORZERO = Package("TensorZero", "python", "tensorzero", "2026.6.0")
PORTKEY = Package("Portkey", "node", "@portkey-ai/gateway", "1.15.2")
ROUTER = Package("claude-code-router", "node", "@musistudio/claude-code-router", "2.0.0")
LAMINAR = Package("Laminar's proxy", "node", "@lmnr-ai/claude-code-proxy", "0.1.24")
MAX_API = Package("claude-max-api-proxy", "node", "claude-max-api-proxy", "1.0.0")
CLAUDISH = Package("claudish", "node", "claudish", "10.1.1")
PACKAGES = (CCPROXY_API, LITELLM, TENSORZERO, PORTKEY, ROUTER, LAMINAR, MAX_API, CLAUDISH)


class NotInstalled(Exception):
    """A package that its registry did not give; the text is the reason, without addresses."""


def cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "ccproxy-bench"


def install(package: Package) -> Path:
    """Return the folder of `package`, installed there now if it was not."""
    folder = package.folder()
    if (folder / STAMP).exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"Installing {package.name} {package.version} …", file=sys.stderr, flush=True)
    if package.kind == "python":
        pip: list[str | Path] = [folder / "bin/python", "-m", "pip", "install", "--quiet"]
        must([sys.executable, "-m", "venv", folder])
        must([*pip, f"{package.name}{package.extras}=={package.version}"])
    elif shutil.which("npm"):
        wanted = {package.name: package.version, **(package.others or {})}
        (folder / "package.json").write_text(json.dumps({"private": True, "dependencies": wanted}))
        must(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--omit=dev"])
    else:
        raise NotInstalled("npm is not on PATH")
    (folder / STAMP).touch()
    return folder


def must(command: Sequence[str | Path]) -> None:
    """Run a step of an installation."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise NotInstalled(f"it was not installed after {INSTALL_SECONDS} seconds") from None
    if done.returncode:
        raise NotInstalled(reason_in(done.stderr))


def reason_in(output: str) -> str:
    """Return the line of an installer's `output` that tells what is missing, without addresses."""
    lines = [NOISE.sub("", line).strip() for line in output.splitlines()]
    telling = [line for line in lines if re.search(r"not find|not be found|No matching", line)]
    line = (telling or [line for line in lines if line] or ["the installer gave no reason"])[0]
    return ADDRESS.sub("an address", line)
