"""A stack with a token, in a real browser: its owner signs in and works; a page of another origin
gets nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import httpx
import pytest

from tests.support.browser import Browser
from tests.support.loopback import LoopbackHandler, serving
from tests.support.stack import Stack

pytestmark = pytest.mark.timeout(180)

TOKEN = "an-owner-token-of-enough-characters"


@pytest.fixture
def guarded(start_stack) -> Stack:
    """A stack with a token, without workers: permission requests come from programs."""
    return start_stack(SECURITY__AUTH_TOKEN=TOKEN, SDK__WORKERS="0").wait_ready()


def sign_in(browser: Browser, token: str = TOKEN) -> None:
    browser.type("#token", token)
    browser.click("form button")


def ask_permission(stack: Stack, command: str) -> tuple[threading.Thread, list[str]]:
    """Ask as a program does; returns what waits for the answer, and where the answer will be."""
    answers: list[str] = []

    def ask() -> None:
        body = {"tool_name": "Bash", "input": {"command": command}}
        reply = httpx.post(
            f"{stack.url}/mcp/permission/check",
            json=body,
            headers={"x-api-key": TOKEN},
            timeout=90,
            trust_env=False,
        )
        answers.append(reply.json()["behavior"])

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    return asking, answers


def test_the_owner_signs_in_works_and_signs_out(guarded: Stack, browser: Browser) -> None:
    browser.go(f"{guarded.url}/permissions/ui")
    browser.until("return location.pathname === '/signin'")
    sign_in(browser, "wrong")
    browser.until_text("not known here")
    sign_in(browser)
    browser.until("return location.pathname === '/permissions/ui'")
    browser.until_text("Nothing is waiting for you.")

    asking, answers = ask_permission(guarded, "touch yes")
    browser.until_text("touch yes", "article")
    browser.click("article .allow")
    asking.join(60)
    assert answers == ["allow"]

    browser.go(f"{guarded.url}/dashboard?view=requests")
    browser.until("return document.getElementById('live-state')?.textContent === 'live'")
    browser.go(f"{guarded.url}/docs")
    browser.until("return document.querySelectorAll('details').length > 20")
    browser.complaints()  # of the wrong token before
    browser.go(f"{guarded.url}/dashboard?view=requests")
    browser.until("return document.getElementById('live-state')?.textContent === 'live'")
    assert browser.complaints() == []
    assert browser.run("return document.cookie") == ""

    browser.click(".sign-out button")
    browser.until("return location.pathname === '/signin'")
    browser.go(f"{guarded.url}/dashboard?view=requests")
    browser.until("return location.pathname === '/signin'")


@pytest.mark.long
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_form_fits_and_has_the_colours_of_its_time(
    guarded: Stack, browser: Browser, dark: bool, width: int
) -> None:
    browser.dress(dark=dark, width=width)
    browser.go(f"{guarded.url}/signin")
    browser.find("#token")
    assert browser.run("return document.documentElement.scrollWidth") <= width
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(22, 20, 15)") == dark
    assert browser.complaints() == []


HOSTILE = """<!doctype html><title>hostile</title><a id="link" href="TARGET/permissions/ui">link</a>
<iframe name="sink"></iframe><iframe id="framed" src="TARGET/dashboard"></iframe><iframe src="TARGET/docs"></iframe>
<form id="signout" method="post" action="TARGET/signout" target="sink"></form>
<form id="signin" method="post" action="TARGET/signin" target="sink"><input name="token" value="x"></form>
<form id="answer" method="post" action="TARGET/permissions/ID/respond" enctype="text/plain" target="sink">
<input name='{"allowed": true, "message": "' value='"}'></form>
<script>
window.results = [];
const note = (name) => (value) => results.push(name + ": " + (value.type ?? value));
const json = { "content-type": "application/json" }, body = '{"allowed": true}';
const read = { credentials: "include" }, blind = { credentials: "include", mode: "no-cors" };
const tries = [["/permissions", {}], ["/permissions", read], ["/dashboard", read], ["/permissions", blind],
  ["/logs/query?sql=SELECT 1", blind], ["/permissions/ID/respond", { method: "POST", ...blind, body }],
  ["/permissions/ID/respond", { method: "POST", ...read, headers: json, body }],
  ["/logs/reset", { method: "POST", ...blind, body: '{"confirm": "forget every record"}' }]];
const asked = tries.map(([path, options]) => fetch("TARGET" + path, options).then(note("fetch"), note("refused")));
const heard = new Promise((done) => {
  const source = new EventSource("TARGET/permissions/stream", { withCredentials: true });
  source.onmessage = source.onopen = () => done(results.push("EventSource: open"));
  source.onerror = () => { source.close(); done(results.push("EventSource: refused")); };
});
const loaded = new Promise((done) => {
  const script = Object.assign(document.createElement("script"), { src: "TARGET/dashboard/dashboard.js" });
  script.onload = () => done(results.push("script: loaded"));
  script.onerror = () => done(results.push("script: refused"));
  document.head.append(script);
});
navigator.sendBeacon("TARGET/permissions/ID/respond", body);
for (const form of document.forms) form.submit();
Promise.all([...asked, heard, loaded]).then(() => { window.done = true; });
</script>"""


@pytest.fixture
def hostile(guarded: Stack) -> Iterator[ThreadingHTTPServer]:
    """A web server of somebody else on this machine; `page` is what it serves."""

    class Page(LoopbackHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(self.server.page)  # type: ignore[attr-defined]

    with serving(Page) as server:
        yield server


@pytest.mark.long
@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_page_of_another_origin_gets_nothing(
    guarded: Stack, browser: Browser, hostile: ThreadingHTTPServer, name: str
) -> None:
    """`localhost` is another site than 127.0.0.1; another port of 127.0.0.1 is the same site, and
    gets the cookie.
    """
    browser.go(f"{guarded.url}/permissions/ui")
    browser.until("return location.pathname === '/signin'")
    sign_in(browser)
    browser.until("return location.pathname === '/permissions/ui'")
    asking, answers = ask_permission(guarded, "touch no")
    browser.until_text("touch no", "article")
    owner = {"x-api-key": TOKEN}
    [pending] = httpx.get(f"{guarded.url}/permissions", headers=owner, trust_env=False).json()[
        "pending"
    ]
    identity = pending["request_id"]
    hostile.page = HOSTILE.replace("TARGET", guarded.url).replace("ID", identity).encode()  # type: ignore[attr-defined]

    browser.go(f"http://{name}:{hostile.server_port}/")
    browser.until("return window.done")
    results = browser.run("return window.results")
    assert len(results) == 10
    # what a page without CORS may send comes back opaque: it cannot be read, and was refused
    assert set(results) <= {
        "refused: TypeError: Failed to fetch",
        "fetch: opaque",
        "EventSource: refused",
        "script: refused",
    }
    assert browser.run("return window.frames.length") == 3
    assert any("frame" in complaint for complaint in browser.complaints())
    [still] = httpx.get(f"{guarded.url}/permissions", headers=owner, trust_env=False).json()[
        "pending"
    ]
    assert still["request_id"] == identity

    browser.click("#link")  # signed in all the same, and led there by a link
    browser.until("return location.pathname === '/permissions/ui'")
    browser.until_text("touch no", "article")
    browser.click("article .deny")
    asking.join(60)
    assert answers == ["deny"]
