"""Where `ccproxy status` and `ccproxy doctor` look for the running stack."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator

import pytest

from ccproxy.cli.status import find_running
from shared.settings.tree import load_settings
from tests.support.loopback import LoopbackHandler, serving


@contextlib.contextmanager
def server_of(answer: object) -> Iterator[int]:
    """A server on loopback that answers every GET with `answer` in JSON; yields its port."""

    class Handler(LoopbackHandler):
        def do_GET(self):
            self.answer(200, answer)

    with serving(Handler) as server:
        yield server.server_port


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONFIG_FILE", "")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return lambda **server: load_settings(server={"run_dir": tmp_path / "run", **server})


def test_a_gateway_that_answers_at_the_settings_address_runs(settings):
    with server_of({"status": "warn", "version": "1", "checks": {}}) as port:
        found = find_running(settings(host="0.0.0.0", port=port))
    assert found is not None
    assert found.facts() == {"url": f"http://127.0.0.1:{port}"}


def test_another_program_at_the_address_is_no_stack(settings):
    with server_of({"status": "pass"}) as port:
        assert find_running(settings(port=port)) is None


def test_no_answer_is_no_stack(settings):
    with server_of({}) as port:
        pass
    assert find_running(settings(port=port)) is None


def test_the_stack_of_the_run_directory_comes_first(settings, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/lock").write_text(json.dumps({"pid": os.getpid(), "url": "http://here"}))
    found = find_running(settings())
    assert found is not None
    assert found.pid == os.getpid()
