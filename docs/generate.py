"""Writes docs/reference/ and the example files from the code itself: `make docs`. A test fails when
they are old.

Each page is a function that returns its text; `PAGES` says where each goes.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import typer.main

from ccproxy.cli.app import GROUPS, app
from ccproxy.cli.config import (
    annotated_toml,
    choices,
    default_of,
    env_example,
    is_section,
    sections,
    summary,
)
from ccproxy.cli.exits import EXITS
from ccproxy.cli.shown import value_text
from deploy.locks import PRODUCT, LockedPackage, product_packages, read_licences
from docs.markup import code, page, replace_part, table
from docs.state_tables import states
from gateway.server.app import open_gateway
from gateway.server.reload import RELOADABLE
from shared.bus import Bus
from shared.formats.chat.request_in import FIELDS as CHAT_FIELDS
from shared.formats.fields import FieldPolicy
from shared.formats.messages.request_in import FIELDS as MESSAGES_FIELDS
from shared.formats.openai_images import FIELDS as IMAGES_FIELDS
from shared.formats.responses.request_in import FIELDS as RESPONSES_FIELDS
from shared.runtime import errors
from shared.runtime.metrics import (
    AnalyticsMetrics,
    LineMetrics,
    Metrics,
    PermissionMetrics,
    PoolMetrics,
    QuotaMetrics,
    WaitingMetrics,
)
from shared.settings.guarded import is_guarded
from shared.settings.problems import name_of
from shared.settings.tree import ObservabilitySettings, Settings

ROOT = Path(__file__).parent.parent


def settings() -> str:
    parts = []
    for path, section in sections(Settings):
        rows = [
            (
                code(name_of((*path, name))),
                code(value_text(default_of(field))),
                "guarded" if is_guarded(Settings, (*path, name)) else "",
                f"{field.description}{choices(field)}",
            )
            for name, field in section.model_fields.items()
            if not is_section(field)
        ]
        described = table("name | default | | what it does", rows)
        parts.append(f"## [{'.'.join(path)}]\n\n{summary(section)}\n\n{described}")
    reloaded = ", ".join(
        code(f"{name}__*".upper() if "." not in name else name_of(tuple(name.split("."))))
        for name in sorted(RELOADABLE)
    )
    return page(
        "Settings",
        "A setting is `SECTION__FIELD` in the environment and in `.env`, and `field` under "
        "`[section]` in a TOML file. The order is: command line, environment, `.env` of the "
        "working folder, TOML file of the working folder (the first of `.ccproxy.toml` and "
        "`ccproxy.toml`), your own TOML file `~/.config/ccproxy/config.toml`, default; merged "
        "value by value. `CONFIG_FILE` names one TOML file in place of these two. Empty "
        "environment variables are ignored. `ccproxy config show --sources` names each source.",
        "A **guarded** setting decides where credentials go, which programs run, or who may come "
        "in. In a file of a working folder it needs your consent once: `ccproxy "
        "config trust`. See [trust in folders](../how-to/trust.md).",
        f"Changed [without a restart](../how-to/reload.md): {reloaded}; the guarded ones of "
        "these from your own file only, once it is trusted.",
        *parts,
    )


def commands() -> str:
    root = typer.main.get_command(app)
    parts = [describe_command("ccproxy", root)]
    for name in sorted(root.commands):  # type: ignore[attr-defined]
        if name in GROUPS:
            group = typer.main.get_command(importlib.import_module(GROUPS[name]).app)
            parts.append(describe_command(f"ccproxy {name}", group))
            inner = getattr(group, "commands", {})
            parts += [describe_command(f"ccproxy {name} {each}", inner[each]) for each in inner]
        else:
            parts.append(describe_command(f"ccproxy {name}", root.commands[name]))  # type: ignore[attr-defined]
    codes = table("code | meaning", ((str(number), meaning) for number, meaning in EXITS.items()))
    return page(
        "Commands",
        "`ccproxy` alone is `ccproxy serve`; the options of `serve` may stand before any command. "
        "Answers go to stdout, everything else to stderr. On a terminal answers are tables; in a "
        "pipe lines, tab-separated; `--json` is for programs.",
        *parts,
        f"## Exit codes\n\n{codes}",
    )


def describe_command(name: str, command: Any) -> str:
    rows = []
    for parameter in command.params:
        if parameter.name == "help" or getattr(parameter, "hidden", False):
            continue
        names = [*parameter.opts, *parameter.secondary_opts]
        shown = ", ".join(names) if names[0].startswith("-") else names[0].upper()
        rows.append((code(shown), getattr(parameter, "help", "") or ""))
    text = inspect.cleandoc(command.help or "").replace("\b", "")
    return f"## {name}\n\n{text}" + (f"\n\n{table('option | what it does', rows)}" if rows else "")


def endpoints() -> str:
    paths = asyncio.run(openapi())["paths"]
    rows = []
    for path, methods in sorted(paths.items()):
        for method, operation in methods.items():
            says = operation.get("description") or operation.get("summary") or ""
            rows.append((method.upper(), code(path), says.split("\n\n")[0]))
    return page(
        "Addresses",
        "With a token set, every address but `/oauth/callback` and the three of `/health` needs "
        "it, as `x-api-key` or as `Authorization: Bearer`; [its scope](../security.md) must be "
        "the right one. The running server tells the same at `/docs` and `/openapi.json`.",
        table("method | address | what it does", rows),
    )


async def openapi() -> dict[str, Any]:
    """What a gateway with default settings, and nobody behind it, says of its own addresses."""
    found = Settings(
        _env_file=None, observability=ObservabilitySettings(logs_collection_enabled=False)
    )
    async with open_gateway(
        found, Bus("redis://127.0.0.1:1", service="docs", instance="docs")
    ) as gateway:
        transport = httpx.ASGITransport(gateway.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer: dict[str, Any] = (await client.get("/openapi.json")).json()
    return answer


def metrics() -> str:
    parts = []
    for title, build in METRICS.items():
        rows = [
            (code(name), kind, ", ".join(map(code, labels)), says)
            for name, kind, labels, says in families(build)
        ]
        parts.append(f"## {title}\n\n{table('metric | type | labels | what it counts', rows)}")
    return page(
        "Metrics",
        "`/metrics` merges what every process counts; each series also has `component` and "
        "`instance_id`. No label takes more than fifty values; what is beyond is `other`.",
        *parts,
    )


METRICS: Mapping[str, Callable[[Metrics], object]] = {
    "Requests": lambda metrics: metrics,
    "SDK workers": PoolMetrics,
    "Waiting requests": WaitingMetrics,
    "SDK queue": LineMetrics,
    "Permissions": PermissionMetrics,
    "Records": AnalyticsMetrics,
    "Subscriptions": QuotaMetrics,
}


def families(build: Callable[[Metrics], object]) -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Name, type, labels and description of what `build` adds to a process's metrics; all of them
    for the metrics themselves.
    """
    base = Metrics()
    known = (
        set() if build(base) is base else {family.name for family in Metrics().registry.collect()}
    )
    collectors = base.registry._collector_to_names
    labels = {
        name: getattr(collector, "_labelnames", ())
        for collector, names in collectors.items()
        for name in names
    }
    for family in base.registry.collect():
        if family.name not in known and not family.name.endswith("_created"):
            name = family.name + ("_total" if family.type == "counter" else "")
            yield name, family.type, labels.get(name, ()), family.documentation


def error_classes(
    above: type[errors.CCProxyError] = errors.CCProxyError,
) -> Iterator[type[errors.CCProxyError]]:
    """Yield `above` and every error below it that the error module defines, parents first."""
    yield above
    for child in above.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from error_classes(child)


def error_kinds() -> str:
    rows = []
    for kind in error_classes():
        said = inspect.cleandoc(kind.__doc__ or "")
        rows.append((code(kind.__name__), status_of(kind), code(kind.kind), said))
    return page(
        "Errors",
        "An error comes in the dialect of the address: Anthropic's, OpenAI's, or plain JSON. Its "
        "`kind` is the same word in the answer, the logs, the metrics and the records. A "
        "provider's refusal keeps its status and words.",
        table("error | HTTP status | kind | default message", rows),
    )


# The remedy for each kind of error; a kind without one stops the generation.
REMEDIES = {
    "internal": "Look up the request's id in the log, and report the traceback.",
    "invalid_request": "Correct the field that the message names.",
    "authentication": "Send the token, or log in: the message says which of the two.",
    "permission": "Use a token with the scope that the message names, or an allowed host name.",
    "not_found": "Correct the base URL, or the id.",
    "thread_not_found": "Nothing: Anthropic's clients then send the whole conversation.",
    "conflict": "Nothing: another answer came first, or another turn runs. Send it again later.",
    "gone": "Open `/permissions/ui` to see what still waits.",
    "unsupported_media": "Send JSON, with `content-type: application/json`.",
    "too_large": "Send less, or raise the limit that the message names.",
    "timeout": "Send the request again; `SERVER__*_TIMEOUT_SECONDS` are the limits.",
    "overloaded": "Send it again after `retry-after`; more `SDK__WORKERS` or a longer queue help.",
    "spend_limit": "Wait until the time in the message, or raise it: `ccproxy token limits`.",
    "quota": "Wait until the window resets, or change `QUOTA__STOP_AT_PERCENT`.",
    "upstream": "Check the network: `ccproxy doctor` tries to reach each provider.",
    "refused": "Follow the provider's own words in the message.",
    "unavailable": "`ccproxy status` names the missing process; it restarts by itself.",
    "worker_lost": "Send the request again if its tools may run twice.",
    "stopping": "Send the request again once the stack has started.",
    "cancelled": "Nothing: the client left before the end. Only records show this kind.",
}
SYMPTOMS = "docs/troubleshooting.md"
BEGIN = "<!-- written by make docs -->\n"
END = "<!-- end of what make docs writes -->"


def troubleshooting() -> str:
    """Return the page about symptoms, written by hand, with its table of error kinds made anew.
    Raises KeyError for a kind without a remedy.
    """
    kinds: dict[str, list[type[errors.CCProxyError]]] = {}
    for each in error_classes():
        kinds.setdefault(each.kind, []).append(each)
    rows = [
        (
            code(kind),
            ", ".join(sorted({status_of(each) for each in classes})),
            " · ".join(inspect.cleandoc(each.__doc__ or "") for each in classes),
            REMEDIES[kind],
        )
        for kind, classes in kinds.items()
    ]
    made = table("kind | HTTP status | meaning | fix", rows)
    return replace_part((ROOT / SYMPTOMS).read_text(), BEGIN, END, f"\n{made}\n\n")


def status_of(error: type[errors.CCProxyError]) -> str:
    return "as upstream" if error is errors.UpstreamRefused else str(error.status)


HTTP_BEHAVIOUR = (
    (
        "an offer to upgrade (`Upgrade: h2c`)",
        "ignored: the body is read and answered in HTTP/1.1",
        "upgrade_offers",
    ),
    ("an offer of a WebSocket", "426, which asks for HTTP/1.1", "upgrade_offers"),
    ("CONNECT, as to a forward proxy", "400", "upgrade_offers"),
    (
        "one list header in several lines (`anthropic-beta`)",
        "joined with commas, in order",
        "field_lines",
    ),
    (
        "two lines of a header that has one value (`authorization`)",
        "400 that names the header",
        "field_lines",
    ),
    (
        "HTTP/1.0",
        "no chunks: a stream ends with its connection, a whole reply has its length",
        "unchunked",
    ),
    ("HEAD", "as GET, without the body", "addresses"),
    ("OPTIONS", "204 with `Allow`", "addresses"),
    ("a wrong method", "405 with `Allow`, and the same methods in the message", "addresses"),
    ("`//` or a slash at the end", "folded", "addresses"),
    (
        "an address beside a served one (`/v1/messages`)",
        "404 that names the address probably meant",
        "addresses",
    ),
)


def compatibility() -> str:
    formats = {
        "Anthropic Messages": MESSAGES_FIELDS,
        "OpenAI Chat Completions": CHAT_FIELDS,
        "OpenAI Responses": RESPONSES_FIELDS,
        "OpenAI Images": IMAGES_FIELDS,
    }
    return page(
        "Fields of requests",
        "Where client and provider speak the same format, a request passes as it is, whatever its "
        "fields. The tables are about translation, and say what becomes of each field of a "
        "request:",
        "- **carried**: the other provider gets it in its own words. What a particular model "
        "cannot take is dropped, and told.\n- **ignored**: the gateway acts on it, or leaving it "
        "out changes nothing.\n- **dropped**: left out; the response header `x-ccproxy-ignored` "
        "names it.\n- **refused**: HTTP 400, naming the field.",
        "Null, and the values in the last column, are always fine.",
        *(f"## {title}\n\n{policy_table(fields)}" for title, fields in formats.items()),
        "## HTTP\n\nBehaviour on every address, whatever the format, each with the test that "
        "proves it:",
        table("a client sends | answer | test", http_rows()),
    )


def http_rows() -> Iterator[tuple[str, str, str]]:
    """Yield the rows of HTTP behaviour, each with the path of the test file that proves the row."""
    for sent, answer, module in HTTP_BEHAVIOUR:
        test = f"tests/unit/gateway/server/test_{module}.py"
        if not (ROOT / test).exists():
            raise FileNotFoundError(test)
        yield sent, answer, code(test)


def policy_table(fields: Mapping[str, FieldPolicy]) -> str:
    rows = (
        (
            code(name),
            policy.kind,
            policy.note,
            ", ".join(code(value_text(value)) for value in policy.defaults),
        )
        for name, policy in sorted(fields.items())
    )
    return table("field | policy | remark | always fine", rows)


def dependencies() -> str:
    """Return the page about the packages of the product's locks, and their licences."""
    licences = read_licences()
    rows = (
        (code(package.name), package.version, licences.packages[package.name], reasons(package))
        for package in product_packages().values()
    )
    remarks = (f"- `{name}`: {remark}" for name, remark in sorted(licences.remarks.items()))
    allowed = ((code(name), asked) for name, asked in sorted(licences.allowed.items()))
    return page(
        "Packages and licences",
        "Every package that the product's locks pin, with its licence as an SPDX expression. A "
        "wheel of CCProxy contains none of them: `pip` installs them beside it, and the images "
        "hold them. The [bill of materials](../how-to/verify.md) of a release has their hashes "
        "too. A test fails for a package without a licence here, for a licence that its metadata "
        "does not name, and for a licence that is not allowed.",
        table("package | version | licence | why it is there", rows),
        "## Remarks\n\n" + "\n".join(remarks),
        "## Allowed licences\n\nCCProxy has the MIT licence. Each of these lets it use the package "
        "unchanged, and asks this of whoever passes the package on:",
        table("licence | asks", allowed),
    )


def reasons(package: LockedPackage) -> str:
    """Return why `package` is in a lock: CCProxy's own reason, and what needs it."""
    named = [code(name) for name in sorted(package.brought_by - {PRODUCT})]
    if PRODUCT in package.brought_by:
        named.insert(0, "[CCProxy](../decisions/0002-dependencies.md)")
    parts = [f"for {', '.join(named)}"]
    if package.extra:
        parts.append(f"with the extra `{package.extra}`")
    if package.condition:
        parts.append(f"where {code(package.condition)}")
    return "; ".join(parts)


PAGES: Mapping[str, Callable[[], str]] = {
    "docs/states.md": states,
    "docs/reference/settings.md": settings,
    "docs/reference/cli.md": commands,
    "docs/reference/endpoints.md": endpoints,
    "docs/reference/metrics.md": metrics,
    "docs/reference/errors.md": error_kinds,
    "docs/reference/compatibility.md": compatibility,
    "docs/reference/dependencies.md": dependencies,
    SYMPTOMS: troubleshooting,
    ".env.example": env_example,
    "examples/ccproxy.toml": annotated_toml,
}


def main() -> None:
    for name, write in PAGES.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = write()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
