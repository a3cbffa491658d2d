"""A running stack that is told of new settings: by its files, by SIGHUP, and through
the launcher.
"""

from __future__ import annotations

import signal
import subprocess
import urllib.error
import urllib.request

import pytest

from ccproxy.launcher.programs import find_script
from tests.support.stack import until

pytestmark = pytest.mark.long


def status(url, token):
    request = urllib.request.Request(f"{url}/openapi.json", headers={"x-api-key": token})
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


def trust(stack, *paths):
    command = [*find_script("ccproxy"), "config", "trust", "--yes", *map(str, paths)]
    subprocess.run(command, cwd=stack.home, env=stack.environment, check=True, timeout=60)


def test_a_changed_token_of_the_owner_s_file_holds_once_it_is_trusted(start_stack):
    stack = start_stack(SDK__WORKERS="0")
    file = stack.home / ".config/ccproxy/config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    stack.wait_ready()
    assert status(stack.url, "first") == 200

    file.write_text("[security]\nauth_token = 'first'\n")
    until(lambda: "guarded_settings_kept" in stack.logs, "the warning")
    assert status(stack.url, "") == 200
    trust(stack, file)
    until(lambda: status(stack.url, "") == 401, "the token")
    assert status(stack.url, "first") == 200

    file.write_text("[security]\nauth_tokn = 'second'\n")
    until(lambda: "SECURITY__AUTH_TOKN" in stack.logs, "the warning")
    assert status(stack.url, "first") == 200
    assert status(stack.url, "") == 401, "an edit that nobody has trusted takes no token away"
    file.write_text("[sdk]\nmax_sesions = 3\n")
    until(lambda: f"SDK__MAX_SESIONS ({file}:2) is not a setting" in stack.logs, "the complaint")

    file.write_text("[security]\nauth_token = 'second'\n[sdk]\nmax_sessions = 3\n")
    trust(stack, file)
    until(lambda: status(stack.url, "second") == 200, "the second token")
    assert status(stack.url, "first") == 401
    until(lambda: "SDK__MAX_SESSIONS" in stack.logs, "what needs a restart")
    request = urllib.request.Request(f"{stack.url}/metrics", headers={"x-api-key": "second"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        counted = reply.read().decode()
    assert 'endpoint="/health/ready"' in counted, (
        "what was asked before the settings changed is still counted"
    )

    file.write_text("")
    stack.wait_replaced("gateway", stack.kill("gateway"))
    until(
        lambda: answers(stack) == 401, "a gateway that was started again and still wants the token"
    )
    assert status(stack.url, "second") == 200


def test_a_file_of_the_folder_changes_no_guarded_setting_of_a_running_stack(start_stack):
    """Not live, not when the owner trusts the file, and not when a service is started again."""
    stack = start_stack(SDK__WORKERS="0").wait_ready()
    (stack.home / ".ccproxy.toml").write_text(
        "[security]\nauth_token = 'planted'\n[codex]\nbase_url = 'https://evil.example'\n"
        "[models]\naliases = {a = 'b'}\n"
    )
    until(lambda: "MODELS__ALIASES" in stack.logs, "the setting that is not guarded")
    assert "CODEX__BASE_URL" in stack.logs
    assert status(stack.url, "") == 200
    trust(stack, stack.home)
    killed = stack.kill("gateway")
    stack.wait_replaced("gateway", killed)
    until(lambda: answers(stack) == 200, "the gateway's answer")
    assert "evil.example" not in stack.logs


def answers(stack):
    try:
        return status(stack.url, "")
    except urllib.error.URLError:
        return None


def test_the_launcher_passes_a_hangup_on_when_it_has_no_terminal(stack):
    gateway = stack.pid_of("gateway")
    stack.process.send_signal(signal.SIGHUP)
    until((stack.run_dir / "reload").exists, "the request")
    assert stack.pid_of("gateway") == gateway
    assert status(stack.url, "") == 200
