"""A gateway process that is told of new settings: by its file, by SIGHUP, and through the launcher."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request

from tests.e2e.stack import until


def status(url, token):
    request = urllib.request.Request(f"{url}/openapi.json", headers={"x-api-key": token})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_changed_token_holds_without_a_restart_and_a_broken_file_changes_nothing(start_stack):
    stack = start_stack(SDK__WORKERS="0")
    file = stack.home / "ccproxy.toml"
    stack.wait_ready()
    assert status(stack.url, "first") == 200

    file.write_text("[security]\nauth_token = 'first'\n")
    until(lambda: status(stack.url, "") == 401, "the token")
    assert status(stack.url, "first") == 200

    file.write_text("[security]\nauth_tokn = 'second'\n")
    until(lambda: "SECURITY__AUTH_TOKN (ccproxy.toml:2) is not a setting" in stack.logs, "the complaint")
    assert status(stack.url, "first") == 200

    file.write_text("[security]\nauth_token = 'second'\n[sdk]\nmax_sessions = 3\n")
    until(lambda: status(stack.url, "second") == 200, "the second token")
    assert status(stack.url, "first") == 401
    until(lambda: "SDK__MAX_SESSIONS" in stack.logs, "what needs a restart")
    request = urllib.request.Request(f"{stack.url}/metrics", headers={"x-api-key": "second"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        counted = reply.read().decode()
    assert 'endpoint="/health/ready"' in counted, "what was asked before the settings changed is still counted"


def test_the_launcher_passes_a_hangup_on_when_it_has_no_terminal(stack):
    gateway = stack.pid_of("gateway")
    stack.process.send_signal(signal.SIGHUP)
    until((stack.run_dir / "reload").exists, "the request")
    assert stack.pid_of("gateway") == gateway
    assert status(stack.url, "") == 200
