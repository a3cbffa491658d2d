"""Sessions are found in the right list, followed over cut connections, begun in one environment for
each folder, and stopped in the name of their token.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from ccproxy.cli.agents import (
    all_pages,
    ask_costs,
    ask_managed_sessions,
    begin_session,
    environment_of,
    follow,
    found_agent,
    found_session,
    stop_session,
)
from ccproxy.cli.exits import DONE, FAILED
from ccproxy.cli.found_stack import FoundStack
from ccproxy.cli.gateway import Unanswered
from tests.support.loopback import LoopbackHandler, serving, url_of

Answer = Callable[[httpx.Request], httpx.Response]
STREAM = "/sdk/v1/sessions/sesn_1/events/stream"


def client_of(answer: Answer) -> httpx.Client:
    return httpx.Client(base_url="http://stack", transport=httpx.MockTransport(answer))


def managed(*ids: str, **facts: Any) -> dict[str, Any]:
    return {
        "sessions": [{"id": each, "status": "running", "caller": "laptop"} | facts for each in ids]
    }


def test_a_token_without_admin_sees_its_own_sessions_page_by_page() -> None:
    pages = {None: (["a", "b"], "next"), "next": (["c"], None)}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/sdk/sessions/managed":
            return httpx.Response(403, json={"error": {"message": "no"}})
        ids, following = pages[request.url.params.get("page")]
        data = [{"id": each} for each in ids]
        return httpx.Response(200, json={"data": data, "next_page": following})

    with client_of(answer) as client:
        assert [each["id"] for each in ask_managed_sessions(client, 20, archived=False)] == [
            "a", "b", "c",
        ]  # fmt: skip
        assert len(all_pages(client, "/sdk/v1/sessions", 2)) == 2


def test_a_refusal_of_another_kind_is_told() -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(503, json={"error": {"message": "Redis is away."}})

    with client_of(answer) as client, pytest.raises(Unanswered, match="Redis is away"):
        ask_managed_sessions(client, 20, archived=False)


@pytest.mark.parametrize(
    ("given", "found"), [("sesn_1", "sesn_1"), ("sesn_2", "sesn_22"), ("sesn_22…", "sesn_22")]
)
def test_a_session_is_found_by_its_id_or_the_beginning_of_it(given: str, found: str) -> None:
    listed = managed("sesn_1", "sesn_11", "sesn_22")
    with client_of(lambda _: httpx.Response(200, json=listed)) as client:
        assert found_session(client, given)["id"] == found


@pytest.mark.parametrize(("given", "words"), [("sesn_", "give more"), ("x", "agents list")])
def test_a_session_that_is_not_the_only_one_or_none_is_refused(given: str, words: str) -> None:
    listed = managed("sesn_11", "sesn_22")
    with (
        client_of(lambda _: httpx.Response(200, json=listed)) as client,
        pytest.raises(Unanswered, match=words),
    ):
        found_session(client, given)


def test_the_costs_are_those_of_the_records_and_nothing_without_records() -> None:
    rows = {"results": [{"session_id": "sesn_1", "cost_usd": 1.5}]}
    with client_of(lambda _: httpx.Response(200, json=rows)) as client:
        assert ask_costs(client) == {"sesn_1": 1.5}
    with client_of(lambda _: httpx.Response(403, json={})) as client:
        assert ask_costs(client) == {}


def test_an_agent_is_found_by_its_name_unless_two_have_it() -> None:
    agents = [{"id": "agent_1", "name": "a"}, {"id": "agent_2", "name": "b"}]
    agents += [{"id": "agent_3", "name": "b"}]
    listed = {"data": agents, "next_page": None}
    with client_of(lambda _: httpx.Response(200, json=listed)) as client:
        assert found_agent(client, "a")["id"] == found_agent(client, "agent_1")["id"] == "agent_1"
        with pytest.raises(Unanswered, match="agent_2, agent_3"):
            found_agent(client, "b")
        with pytest.raises(Unanswered, match="agents stored"):
            found_agent(client, "c")


def test_a_session_begins_in_the_environment_of_its_folder_which_is_made_once() -> None:
    posted: list[tuple[str, Any]] = []
    known = [{"id": "env_1", "metadata": {"cwd": "/srv/known"}}, {"id": "env_2", "metadata": {}}]
    lists = {
        "/sdk/v1/agents": [{"id": "agent_1", "name": "helper"}],
        "/sdk/v1/environments": known,
    }

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"data": lists[request.url.path], "next_page": None})
        posted.append((request.url.path, json.loads(request.content)))
        return httpx.Response(200, json={"id": "env_3"})

    with client_of(answer) as client:
        assert environment_of(client, "/srv/known")["id"] == "env_1"
        assert environment_of(client, None)["id"] == "env_2"
        assert posted == []
        begin_session(client, "helper", "Go.", "/srv/new/../other", "Night")
    [(_, environment), (address, session)] = posted
    assert environment == {"name": "/srv/other", "metadata": {"cwd": "/srv/other"}}
    assert address == "/sdk/v1/sessions"
    assert session == {
        "agent": "agent_1",
        "environment_id": "env_3",
        "initial_events": [{"type": "user.message", "content": [{"type": "text", "text": "Go."}]}],
        "title": "Night",
    }


class FakeGateway:
    """A gateway with one session. Each connection to its stream gets the next of `connections`,
    pairs of an id and an event, and is then cut. `last` is the newest event of the list.
    """

    def __init__(self) -> None:
        self.connections: list[list[tuple[str, dict[str, Any]]]] = []
        self.last: dict[str, Any] = {"id": "sevt_2"}
        self.session: dict[str, Any] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.sent: list[tuple[str, Any]] = []
        self.url = ""

    def stack(self) -> FoundStack:
        return FoundStack(self.url, "", "--url")


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGateway]:
    fake = FakeGateway()

    class Handler(LoopbackHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            caller, after = (
                self.headers.get(name, "") for name in ("x-ccproxy-caller", "last-event-id")
            )
            fake.asked.append((path, caller, after))
            if path == "/sdk/sessions/managed":
                self.answer(200, managed("sesn_1", **fake.session))
            elif path == STREAM:
                self.stream(fake.connections.pop(0))
            else:
                self.answer(200, {"data": [fake.last]})

        def stream(self, events: list[tuple[str, dict[str, Any]]]) -> None:
            frames = [
                f"event: {event['type']}\nid: {place}\ndata: {json.dumps(event)}\n\n"
                for place, event in events
            ]
            body = "".join(frames).encode()
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            fake.sent.append((self.headers.get("x-ccproxy-caller", ""), json.loads(self.body())))
            self.answer(200, {"data": []})

    with serving(Handler) as server:
        fake.url = url_of(server)
        monkeypatch.setenv("CCPROXY_STACK_URL", fake.url)
        yield fake


SESSION = {"id": "sesn_1", "caller": "laptop"}


def event(number: int, kind: str, **facts: Any) -> tuple[str, dict[str, Any]]:
    return f"{number}-0", {"id": f"sevt_{number}", "type": kind, "processed_at": None} | facts


def idle(number: int, reason: str = "end_turn") -> tuple[str, dict[str, Any]]:
    return event(number, "session.status_idle", stop_reason={"type": reason})


def test_a_session_is_followed_over_a_cut_connection_to_the_end_of_its_last_turn(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.connections = [
        [idle(1), event(2, "user.message", content=[])],
        [event(3, "session.status_running"), idle(4, "requires_action")],
        [idle(5)],
    ]
    code = follow(gateway.stack(), SESSION, as_json=True, until_done=True)
    shown = capsys.readouterr()
    assert code == DONE
    numbers = [json.loads(line)["id"] for line in shown.out.splitlines()]
    assert numbers == ["sevt_1", "sevt_2", "sevt_3", "sevt_4", "sevt_5"]
    assert shown.err.count("The connection is lost") == 2
    # Each connection goes on behind the last event, in the name of the session's token.
    streams = [(caller, after) for path, caller, after in gateway.asked if path == STREAM]
    assert streams == [("laptop", "0-0"), ("laptop", "2-0"), ("laptop", "4-0")]


@pytest.mark.parametrize("reason", ["retries_exhausted", "refusal"])
def test_a_turn_that_failed_is_the_exit_code(gateway: FakeGateway, reason: str) -> None:
    gateway.connections = [[event(2, "user.message", content=[]), idle(3, reason)]]
    assert follow(gateway.stack(), SESSION, as_json=False, until_done=True) == FAILED


def test_a_session_that_is_idle_already_is_not_waited_for(gateway: FakeGateway) -> None:
    gateway.connections = [[event(1, "user.message", content=[]), idle(2)]]
    assert follow(gateway.stack(), SESSION, as_json=False, until_done=True) == DONE


def test_a_follower_without_an_end_stays_until_the_session_is_deleted(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.connections = [[idle(1), event(2, "session.deleted")]]
    assert follow(gateway.stack(), SESSION, as_json=False, until_done=False) == DONE
    assert "the session is done" in capsys.readouterr().out


def test_a_turn_is_stopped_in_the_name_of_its_token_and_an_idle_session_is_left(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str]
) -> None:
    stop_session("sesn_1")
    assert gateway.sent == [("laptop", {"events": [{"type": "user.interrupt"}]})]
    gateway.session = {"status": "idle", "waits": False}
    stop_session("sesn_1")
    assert len(gateway.sent) == 1
    assert "nothing runs" in capsys.readouterr().err
    gateway.session = {"status": "idle", "waits": True}
    stop_session("sesn_1")
    assert len(gateway.sent) == 2
