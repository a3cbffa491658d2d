"""`ccproxy demo`: the real thing with `--once`, and its verdict on a stack that does
not deliver.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ccproxy.cli.demo import SAMPLES, isolate, show_demo, streamed_text
from ccproxy.launcher.programs import find_script
from shared.settings.tree import load_settings
from tests.support.loopback import LoopbackHandler, serving, url_of
from tests.support.stack import clean_environment
from tests.support.watched_network import WHY_NOT, Watched, run_watched

# The owner's settings, which must neither reach the demo nor be touched by it.
OWNERS = {
    "SECURITY__AUTH_TOKEN": "s3cret",
    "REDIS__URL": "redis://127.0.0.1:1",
    "CLAUDE__CLI_PATH": "/bin/false",
}


def run(command: list[str], folder: Path, environment: dict[str, str]) -> Watched:
    """Run `command` where other hosts are counted; where that is not possible, count none."""
    if not WHY_NOT:
        return run_watched(command, folder, environment)
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    return Watched(ended.returncode, ended.stdout, ended.stderr, packets=0)


@pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)
def test_a_program_that_asks_for_a_name_is_counted(tmp_path):
    ended = run_watched(
        ["getent", "hosts", "elsewhere.test"], tmp_path, clean_environment(tmp_path)
    )
    assert ended.returncode != 0
    assert ended.packets > 0


@pytest.mark.claude
@pytest.mark.timeout(180)
def test_everything_arrives_and_nothing_is_left(tmp_path):
    (tmp_path / ".ccproxy.toml").write_text("[server]\nport = 1\n")
    command = [*find_script("ccproxy"), "demo", "--once", "--port", "0"]
    environment = clean_environment(tmp_path) | OWNERS | {"TMPDIR": str(tmp_path)}
    ended = run(command, tmp_path, environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.packets == 0, "a part of the stack, or claude, sent something to another host"
    for sample in SAMPLES:
        assert sample.words in ended.stdout
    assert 'endpoint="/sdk/v1/messages"' in ended.stdout
    assert "\nEverything arrived.\n" in ended.stdout
    assert "leaked" not in ended.stdout + ended.stderr, "a library complains at the end"
    assert [path.name for path in tmp_path.iterdir() if "ccproxy-demo" in path.name] == []


class Forgetful(LoopbackHandler):
    """A gateway whose `/sdk` is broken and which keeps neither rows nor counts of it."""

    def do_POST(self):
        asked = json.loads(self.body())
        words = asked["messages"][0]["content"].removeprefix("[[say:").removesuffix("]]")
        if self.path.startswith("/sdk"):
            self.answer_text(503, '{"error": "no worker"}')
        elif asked["stream"]:
            delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": words}}
            self.answer_text(
                200, f'data: {json.dumps(delta)}\n\ndata: {{"type": "message_stop"}}\n\n'
            )
        else:
            self.answer_text(200, json.dumps({"content": [{"type": "text", "text": words}]}))

    def do_GET(self):
        row = {
            "status_code": 200,
            "model": "m",
            "tokens_input": 1,
            "tokens_output": 2,
            "duration_ms": 3.0,
        }
        row |= {"cache_read_tokens": 0, "cache_write_tokens": 0}
        rows = [
            row | {"client_request_id": sample.request_id}
            for sample in SAMPLES
            if sample.path != "/sdk/v1/messages"
        ]
        paths = ("/api/v1/messages", "/codex/v1/messages")
        counted = "".join(f'ccproxy_requests_total{{endpoint="{path}"}} 1.0\n' for path in paths)
        self.answer_text(200, counted if self.path == "/metrics" else json.dumps({"results": rows}))

    def answer_text(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


@pytest.fixture
def forgetful():
    with serving(Forgetful) as server:
        yield url_of(server)


async def test_what_did_not_arrive_is_named(forgetful, capsys):
    assert await show_demo(forgetful, load_settings(), once=True, timeout=0.3) == 1
    said = capsys.readouterr().out
    assert [line for line in said.splitlines() if line.startswith("FAIL")] == [
        "FAIL the answer of /sdk did not arrive",
        "FAIL the log row of /sdk did not arrive",
        "FAIL the metrics line of /sdk/v1/messages did not arrive",
    ]
    assert "503" in said


async def test_it_stays_and_invites_without_once(forgetful, capsys):
    assert await show_demo(forgetful, load_settings(), once=False, timeout=0.1) is None
    said = capsys.readouterr().out
    assert f"curl {forgetful}/api/v1/messages" in said
    assert "run -- claude -p 'Hello!'" in said
    assert max(map(len, said.splitlines())) <= 80


def test_a_stream_that_ends_early_is_no_answer():
    with pytest.raises(ValueError, match="ended before"):
        streamed_text('data: {"type": "content_block_delta", "delta": {"text": "Hel"}}\n\n')


def test_no_setting_of_the_owner_stays(monkeypatch, tmp_path):
    before, place = dict(os.environ), os.getcwd()
    try:
        os.environ |= OWNERS | {"security__auth_token": "lower"}
        isolate(tmp_path, "http://127.0.0.1:1", 8123)
        settings = load_settings()
    finally:
        os.chdir(place)
        os.environ.clear()
        os.environ |= before
    assert settings.security.auth_token is None
    assert settings.redis.url is None
    assert (settings.server.port, settings.claude.base_url) == (8123, "http://127.0.0.1:1")
    assert str(settings.observability.duckdb_path).startswith(str(tmp_path))
    assert settings.security.permission_rules_file.is_relative_to(tmp_path)
    assert settings.security.tokens_file.is_relative_to(tmp_path)
