"""The lines that the launcher prints once the stack is ready: its addresses, the problems, and the
next step.

The first screen holds only what the owner needs: a part that works has no line, and a problem that
several parts share has one. Lines wrap at the width of the terminal; into a pipe each is whole.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from urllib.parse import urlsplit

from ccproxy.cli.console import columns_of, say
from ccproxy.cli.wrapping import wrapped_rows
from ccproxy.launcher.listening import local_host
from ccproxy.launcher.programs import own_command
from ccproxy.launcher.readiness import Health, wait_until_ready
from ccproxy.launcher.stacks import Kind
from shared.runtime.version import VERSION
from shared.settings.tree import Settings, armed_providers, foreign_addresses

INDENT = 2
LABEL_WIDTH = 11
UNWRAPPED = 1_000_000  # a pipe has no width


async def announce(settings: Settings, url: str, port: int, kind: Kind) -> None:
    """Wait until the stack at `url` is ready, and print its addresses, notes and the next step."""
    health = await wait_until_ready(local_host(settings.server.host), port, settings)
    columns = columns_of(sys.stderr.fileno()) if sys.stderr.isatty() else UNWRAPPED
    for line in first_screen(settings, url, health, columns, kind):
        say(line)


def first_screen(
    settings: Settings, url: str, health: Health, columns: int, kind: Kind = "serve"
) -> Iterator[str]:
    """Yield the lines for a stack at `url` with `health`, no line longer than `columns` except for
    a single long word. A demo has no note: nothing of the owner is in a demo.
    """
    but = f", but without {missing}" if (missing := health.failing()) else ""
    yield from wrapped_rows(f"CCProxy {VERSION} is ready at {url}{but}", columns)
    yield from labelled("Claude", f"{url}/api    with your login or key", columns)
    yield from labelled("", f"{url}/sdk    as Claude Code, with its tools", columns)
    yield from labelled("ChatGPT", f"{url}/codex  with Codex models", columns)
    yield from labelled("Dashboard", f"{url}/dashboard", columns)
    noted = () if kind == "demo" else notes(settings)
    for label, note in (*problems(health), *(("note", note) for note in noted)):
        yield from labelled(label, note, columns)
    yield from labelled("Next", f"{own_command()} run -- claude    in another terminal", columns)
    yield from labelled("", f"or: export ANTHROPIC_BASE_URL={url}/api", columns)
    yield from labelled("Stop", "Ctrl-C", columns)


def problems(health: Health) -> Iterator[tuple[str, str]]:
    """Yield a label and a sentence for every problem in `health`; parts with the same problem share
    a sentence.
    """
    parts: dict[tuple[str, str], list[str]] = {}
    for name, status, output in health.checks:
        if status in LABELS:
            parts.setdefault((LABELS[status], output), []).append(name.replace("_", " "))
    for (label, output), names in parts.items():
        yield label, f"{', '.join(names)}: {output}"


LABELS = {"warn": "note", "fail": "missing"}


def labelled(label: str, text: str, columns: int) -> Iterable[str]:
    """Return `text` behind `label`, the further lines below the first."""
    begin = " " * INDENT + label.ljust(LABEL_WIDTH)
    return wrapped_rows(begin + text, columns, " " * (INDENT + LABEL_WIDTH))


def notes(settings: Settings) -> Iterator[str]:
    """Yield the owner's notes: the receivers of credentials, the people who may approve."""
    names_of: dict[str, list[str]] = {}
    for name, url in foreign_addresses(settings):
        parts = urlsplit(url)
        names_of.setdefault(f"{parts.scheme}://{parts.netloc}", []).append(name)
    for receiver, names in names_of.items():
        yield (
            f"{', '.join(names)}: your credentials go to {receiver}, which is not the provider's "
            "own address"
        )
    for provider, limit in armed_providers(settings).items():
        yield (
            f"Your API key for {provider} pays while a window of the subscription is used up, at "
            f"most ${limit:.2f} a day ({provider.upper()}__WHEN_USED_UP)."
        )
    security = settings.security
    if settings.sdk.workers and not (security.auth_token or security.tokens):
        yield (
            "Without a token any program of this machine can approve tools; `ccproxy "
            "generate-token --save` makes one (SECURITY__AUTH_TOKEN)."
        )
