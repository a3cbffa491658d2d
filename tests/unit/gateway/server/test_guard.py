"""Who may come in, from the head of a request alone."""

from __future__ import annotations

import base64

import pytest

from gateway.server.guard import (
    EVERYTHING,
    LOCAL_CALLER,
    MAX_HEADERS,
    UNKNOWN_CALLER,
    Caller,
    Guard,
    host_name,
    scope_of,
)
from shared.runtime.errors import (
    CCProxyError,
    HeadersTooLarge,
    NotAllowed,
    NotAuthorized,
    UnsupportedMedia,
)
from shared.settings.security import SecuritySettings
from shared.settings.servers import ServerSettings

JSON = {b"content-type": b"application/json; charset=utf-8"}


def guard(host: str = "127.0.0.1", token: str | None = None, **security: object) -> Guard:
    return Guard(
        ServerSettings(host=host),
        SecuritySettings.model_validate({"auth_token": token, **security}),
    )


def admit(door: Guard, method: str = "POST", path: str = "/api/v1/messages", **headers: str) -> str:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return door.admit(method, path, {b"host": b"localhost:8000"} | JSON | named)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:8000", "[::1]:8000", "[::1]", "LOCALHOST:1"]
)
def test_loopback_is_served_by_its_names(host: str) -> None:
    admit(guard(), host=host)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example:8000", "", "127.0.0.1.nip.example", "[::2]"]
)
def test_a_name_that_was_rebound_to_us_is_refused(host: str) -> None:
    with pytest.raises(NotAllowed, match="does not answer to the name"):
        admit(guard(), host=host)


def test_a_configured_name_is_served() -> None:
    admit(guard(allowed_hosts=["Box.lan"]), host="box.lan:8000")


def test_a_server_bound_everywhere_answers_to_any_name_once_a_token_guards_it() -> None:
    admit(guard("0.0.0.0", token="t"), host="anything.example", x_api_key="t")
    with pytest.raises(NotAllowed):
        admit(guard("0.0.0.0", allow_open_bind=True), host="anything.example")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example"]
)
def test_a_page_of_another_origin_is_refused(origin: str) -> None:
    with pytest.raises(NotAllowed, match="other origins"):
        admit(guard(), origin=origin)


def test_our_own_pages_are_admitted() -> None:
    admit(guard(), origin="http://localhost:8000")


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_a_body_a_plain_form_could_send_is_refused(kind: str) -> None:
    with pytest.raises(UnsupportedMedia):
        admit(guard(), content_type=kind)


def test_reading_needs_no_content_type() -> None:
    admit(guard(), "GET", "/health", content_type="")


@pytest.mark.parametrize(
    "headers",
    [
        {"x_api_key": "secret"},
        {"authorization": "Bearer secret"},
        {"authorization": "bearer secret"},
    ],
)
def test_the_token_is_taken_from_either_header(headers: dict[str, str]) -> None:
    assert admit(guard(token="secret"), **headers).name == "owner"


@pytest.mark.parametrize(
    "headers",
    [{}, {"x_api_key": "wrong"}, {"authorization": "Basic secret"}, {"authorization": "secret"}],
)
def test_without_the_right_token_nothing_but_liveness_answers(headers: dict[str, str]) -> None:
    door = guard(token="secret")
    with pytest.raises(NotAuthorized):
        admit(door, **headers)
    with pytest.raises(NotAuthorized):
        admit(door, "GET", "/metrics", **headers)
    for path in ("/health", "/health/live", "/health/ready"):
        assert admit(door, "GET", path, **headers) == UNKNOWN_CALLER


def test_a_token_of_odd_bytes_is_refused_not_an_error() -> None:
    with pytest.raises(CCProxyError):
        guard(token="secret").admit(
            "POST", "/x", {b"host": b"localhost", b"x-api-key": b"\xff\xfe"} | JSON
        )


@pytest.mark.parametrize(
    ("host", "name"), [(b"a:1", "a"), (b"[::1]:2", "::1"), (b"a", "a"), (b"A.b", "a.b")]
)
def test_a_host_header_is_read_without_its_port(host: bytes, name: str) -> None:
    assert host_name(host) == name


BASIC = {"authorization": "Basic " + base64.b64encode(b"anyone:secret-token").decode()}
TOOL = {"name": "aider", "token": "tool-token"}
PHONE = {"name": "phone", "token": "phone-token", "scopes": ["approve"]}
HOOK = {"name": "hook", "token": "hook-token", "scopes": ["ask"]}
AGENT = {"name": "agent", "token": "agent-token", "scopes": ["use", "agent"]}


def test_a_browser_may_offer_the_token_as_a_password() -> None:
    assert admit(guard(token="secret-token"), **BASIC).name == "owner"
    with pytest.raises(NotAuthorized):
        admit(guard(token="secret-token"), authorization="Basic no-base64!")


def test_each_named_token_marks_its_requests() -> None:
    door = guard(token="owner-token", tokens=[TOOL, PHONE])
    assert admit(door, x_api_key="tool-token").name == "aider"
    assert admit(door, "GET", "/permissions", x_api_key="phone-token").name == "phone"
    assert admit(door, "GET", "/permissions", x_api_key="owner-token").name == "owner"


@pytest.mark.parametrize(
    ("path", "token"),
    [
        ("/permissions", "tool-token"),
        ("/permissions/x/respond", "tool-token"),
        ("/logs/reset", "tool-token"),
        ("/metrics", "phone-token"),
        ("/api/v1/messages", "phone-token"),
        ("/usage", "tool-token"),
        ("/sdk/v1/messages", "tool-token"),
        ("/sdk/name/v1/messages", "tool-token"),
        ("/mcp", "tool-token"),
        ("/mcp/permission/check", "phone-token"),
        ("/permissions/x/respond", "hook-token"),
        ("/permissions/rules", "hook-token"),
        ("/permissions/rules", "agent-token"),
        ("/mcp", "agent-token"),
    ],
)
def test_a_token_does_only_what_its_scopes_allow(path: str, token: str) -> None:
    with pytest.raises(NotAllowed, match="lacks the scope"):
        admit(guard(tokens=[TOOL, PHONE, HOOK, AGENT]), path=path, x_api_key=token)


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/permissions", "approve"),
        ("/permissionsx", "use"),
        ("/logs/query", "admin"),
        ("/sdk/v1/messages", "agent"),
        ("/sdk/v1/models", "agent"),
        ("/sdk/status", "agent"),
        ("/sdkx", "use"),
        ("/sdk/sessions/1", "admin"),
        ("/mcp", "ask"),
        ("/mcp/permission/check", "ask"),
    ],
)
def test_paths_need_the_scope_of_what_lies_under_them(path: str, scope: str) -> None:
    assert scope_of("GET", path) == scope


def test_only_an_administrator_lets_a_worker_finish() -> None:
    assert scope_of("POST", "/sdk/workers/attic/drain") == "admin"
    assert scope_of("POST", "/sdk/workers/v1/messages") == "agent"


def test_too_many_or_too_long_headers_are_refused() -> None:
    with pytest.raises(HeadersTooLarge):
        guard().admit("GET", "/", {b"host": b"localhost"}, MAX_HEADERS + 1)
    with pytest.raises(HeadersTooLarge):
        admit(guard(), x_pad="x" * 70_000)


def test_an_origin_that_is_no_address_is_refused() -> None:
    with pytest.raises(CCProxyError):
        admit(guard(), origin="http://[broken")


def test_only_the_owner_has_every_scope_and_grants_its_own_requests() -> None:
    everything = {"name": "laptop", "token": "laptop-token", "scopes": sorted(EVERYTHING)}
    door = guard(token="owner-token", tokens=[TOOL, PHONE, HOOK, AGENT, everything])
    may_ask = {
        name: admit(door, "GET", "/health", x_api_key=f"{name}-token").may_ask
        for name in ("owner", "laptop", "tool", "phone", "hook", "agent")
    }
    assert may_ask == {
        "owner": False,
        "laptop": True,
        "tool": False,
        "phone": False,
        "hook": True,
        "agent": True,
    }
    assert admit(guard()) == LOCAL_CALLER
    assert not LOCAL_CALLER.may_ask
    assert not Caller("", frozenset()).is_owner


@pytest.mark.parametrize("name", ["owner", "Owner", "local", "rule"])
def test_no_token_takes_a_name_of_the_server_s_own(name: str) -> None:
    with pytest.raises(ValueError, match="choose another"):
        guard(tokens=[TOOL | {"name": name}])


LINK = "/permissions/answer/" + "a" * 43


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD"])
def test_a_one_time_link_needs_no_token_and_brings_no_scope(method: str) -> None:
    closed = guard(token="a-long-secret")
    assert admit(closed, method, LINK) == UNKNOWN_CALLER
    # The web page of ntfy is on another origin, and sends no JSON.
    page = {"origin": "https://ntfy.sh", "sec_fetch_site": "cross-site", "content_type": ""}
    assert admit(closed, method, LINK, **page) == UNKNOWN_CALLER


@pytest.mark.parametrize(
    "path", [LINK[:-1], f"{LINK}a", f"{LINK}/x", "/permissions/answer", "/permissions"]
)
def test_an_address_that_is_no_one_time_link_needs_its_token(path: str) -> None:
    with pytest.raises(NotAuthorized):
        admit(guard(token="a-long-secret"), path=path)


def test_a_one_time_link_is_not_served_under_a_name_of_somebody_else() -> None:
    with pytest.raises(NotAllowed):
        admit(guard(token="a-long-secret"), path=LINK, host="evil.example")
