"""Every command, flag, path, variable and file that the first ccproxy's README named: it is there
and does its work, or it stands in DIFFERENT with a reason that docs/upgrade.md tells.
"""

from __future__ import annotations

import json
import re
import subprocess
import typing
from pathlib import Path

import httpx
import pytest

from ccproxy.cli.serve_options import OVERRIDES
from ccproxy.launcher.programs import find_script
from shared.accounts.claude import ClaudeIssuer
from shared.accounts.codex import CodexIssuer
from shared.accounts.models import CODEX_DEFAULT
from shared.settings.tree import load_settings
from tests.support.compose import ROOT, load
from tests.support.documented import understand
from tests.support.trusting import trust_folder

COMMANDS = (
    "ccproxy",
    "ccproxy --port 8001",
    "ccproxy serve",
    "ccproxy --sdk-enable-pool",
    "ccproxy --sdk-enable-pool --sdk-pool-size 5",
    "ccproxy --claude-code-options-cwd /path/to/your/project",
    (
        "ccproxy --claude-code-options-cwd /tmp/x --claude-code-options-permission-mode "
        "bypassPermissions --claude-sdk-message-mode formatted"
    ),
    "ccproxy auth login",
    "ccproxy auth login-openai",
    "ccproxy auth status",
    "ccproxy auth validate",
    "ccproxy auth info",
    "ccproxy codex info",
    (
        "ccproxy codex set --enable-dynamic-model-info --max-output-tokens-fallback 8192 "
        "--system-prompt-injection-mode append"
    ),
    "ccproxy codex set --system-prompt-injection-mode override",
    "ccproxy codex set --system-prompt-injection-mode disabled",
    "ccproxy codex cache",
    "ccproxy codex cache --raw",
    "ccproxy codex cache --clear",
    "ccproxy codex test",
    "ccproxy generate-token",
    "ccproxy permission-handler",
    "ccproxy permission-handler --host 127.0.0.1 --port 8000",
)

# What a flag promised is a setting: flag and value on the command line, setting and value in every
# process.
FLAGS = (
    ("--port 8001", "server.port", 8001),
    ("--host 0.0.0.0", "server.host", "0.0.0.0"),
    ("--sdk-enable-pool", "sdk.enable_pool", True),
    ("--sdk-pool-size 5", "sdk.pool_size", 5),
    ("--claude-code-options-cwd /tmp/x", "claude.code_options.cwd", Path("/tmp/x")),
    (
        "--claude-code-options-permission-mode bypassPermissions",
        "claude.code_options.permission_mode",
        "bypassPermissions",
    ),
    ("--claude-sdk-message-mode formatted", "claude.sdk_message_mode", "formatted"),
)

VARIABLES = (
    ("SERVER__HOST", "0.0.0.0", "server.host", "0.0.0.0"),
    ("SERVER__PORT", "8080", "server.port", 8080),
    ("SECURITY__AUTH_TOKEN", "abc123xyz789", "security.auth_token", "abc123xyz789"),
    ("CLAUDE__SDK_MESSAGE_MODE", "formatted", "claude.sdk_message_mode", "formatted"),
    ("CLAUDE__SDK_MESSAGE_MODE", "ignore", "claude.sdk_message_mode", "ignore"),
    ("CLAUDE__SDK_MESSAGE_MODE", "forward", "claude.sdk_message_mode", "forward"),
    ("CLAUDE__PRETTY_FORMAT", "false", "claude.pretty_format", False),
    (
        "CODEX__SYSTEM_PROMPT_INJECTION_MODE",
        "override",
        "codex.system_prompt_injection_mode",
        "override",
    ),
    (
        "CODEX__SYSTEM_PROMPT_INJECTION_MODE",
        "append",
        "codex.system_prompt_injection_mode",
        "append",
    ),
    (
        "CODEX__SYSTEM_PROMPT_INJECTION_MODE",
        "disabled",
        "codex.system_prompt_injection_mode",
        "disabled",
    ),
    ("OBSERVABILITY__ENABLED", "true", "observability.enabled", True),
    ("OBSERVABILITY__METRICS_ENABLED", "false", "observability.metrics_endpoint_enabled", False),
    ("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-x", "claude.oauth_token", "sk-ant-oat01-x"),
)

HELLO = [{"role": "user", "content": "Hello!"}]
MESSAGES = {"model": "claude-sonnet-4-5", "messages": HELLO, "max_tokens": 100}
CHAT = {"model": "o3-mini", "messages": HELLO}
CODEX = {"model": CODEX_DEFAULT, "messages": HELLO}  # the model of the day; gpt-5 is retired
NAME = "My name is Bob."

# Method, path, body, status; and a word of the answer.
PATHS = (
    ("POST", "/sdk/v1/messages", MESSAGES, 200, '"type":"message"'),
    ("POST", "/api/v1/messages", MESSAGES, 200, '"type":"message"'),
    ("POST", "/sdk/v1/chat/completions", CHAT, 200, '"chat.completion"'),
    ("POST", "/api/v1/chat/completions", CHAT, 200, '"chat.completion"'),
    ("POST", "/codex/responses", CODEX, 200, '"object":"response"'),
    ("POST", "/codex/responses", CODEX | {"stream": True}, 200, "response.completed"),
    ("POST", "/codex/my_session_123/responses", CODEX, 200, '"object":"response"'),
    ("POST", "/codex/chat/completions", CODEX, 200, '"chat.completion"'),
    ("POST", "/codex/v1/chat/completions", CODEX, 200, '"chat.completion"'),
    ("POST", "/codex/messages", CODEX | {"max_tokens": 100}, 200, '"type":"message"'),
    ("POST", "/codex/my_session_123/chat/completions", CODEX, 200, '"chat.completion"'),
    ("GET", "/health", None, 200, '"checks"'),
    ("GET", "/sdk/models", None, 200, '"data"'),
    ("GET", "/api/models", None, 200, '"data"'),
    ("GET", "/sdk/status", None, 200, '"workers"'),
    ("GET", "/api/status", None, 200, '"base_url"'),
    ("GET", "/oauth/callback?state=nobody-began-this", None, 400, "logged in"),
    ("POST", "/mcp/permission/check", {}, 400, "tool_name"),
    ("GET", "/permissions/no-such-request", None, 404, "no-such-request"),
    ("POST", "/permissions/no-such-request/respond", {"allowed": True}, 404, "no-such-request"),
    ("GET", "/metrics", None, 200, "ccproxy_requests_total"),
    ("GET", "/logs/status", None, 200, "{"),
    ("GET", "/logs/query", None, 200, "{"),
    ("GET", "/dashboard", None, 200, "<html"),
)

FILES = (
    "examples",
    "CONTRIBUTING.md",
    "LICENSE",
    "docs",
    ".env.example",
    "docker-compose.yml",
    "docker-compose.monitoring.yml",
)

# What is deliberately otherwise: words of the promise, and of the line in docs/upgrade.md that says
# why.
DIFFERENT = {
    "pool mode is disabled by default": "pool off by default",
    "metrics, logs and dashboard are disabled by default": "`/metrics`, `/logs`, `/dashboard` off",
    "credential files are mounted read-only": "credentials mounted `:ro`",
    "admin/admin": "Grafana with admin/admin",
    "a new session for each Codex request": "a new session id for each request",
    "a dummy key is enough wherever it listens": "listening beyond loopback was open",
    "the Codex prompt is injected into every conversation": "Codex instructions always replaced",
    "npm packages @anthropic-ai/codex, codex auth login": "`@anthropic-ai/codex`, `codex auth "
    "login`",
    "aichat with type: claude on /codex": "aichat with `type: claude`",
    "claude-code-sdk needs the npm program": "`npm install -g @anthropic-ai/claude-code`",
    "docs/observability.md": "`docs/observability.md`",
    "a port published on every interface": "published on every interface",
    "uvx ccproxy-api, pipx run ccproxy-api": "`pipx run ccproxy-api`",
    "the first use starts a login": "the first use started a login",
    "reasoning as <thinking> text": "reasoning came as `<thinking>`",
    "pool instances are reused": "pool off by default",
    "Claude Code's identity on /api": "bore Claude Code's identity",
    "sampling parameters reach Codex": "sampling parameters reached Codex",
    "credential files must exist before the start": "had to exist before the start",
    "--cwd": "`--cwd`, `--permission-mode`",
}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_understood(line):
    understand(line)


def value_at(settings: typing.Any, path: str) -> typing.Any:
    for part in path.split("."):
        settings = getattr(settings, part)
    return settings.get_secret_value() if hasattr(settings, "get_secret_value") else settings


@pytest.fixture
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in (
        "CONFIG_FILE",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "CLAUDE_CONFIG_DIR",
        "CODEX_HOME",
    ):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("HOME", str(tmp_path))
    return monkeypatch


@pytest.mark.parametrize(("line", "path", "value"), FLAGS)
def test_a_flag_sets_what_it_promised(here, line, path, value):
    flag, _, said = line.partition(" ")
    [option] = [each for each in OVERRIDES if flag in each.flag.replace("/", ",").split(",")]
    here.setenv(option.setting, option.text(option.kind(said) if said else True))
    assert value_at(load_settings(), path) == value


@pytest.mark.parametrize(("name", "said", "path", "value"), VARIABLES)
@pytest.mark.parametrize("where", ["environment", ".env"])
def test_a_variable_sets_what_it_promised(here, name, said, path, value, where):
    if where == ".env":
        Path(".env").write_text(f"{name}={said}\nANTHROPIC_API_KEY=dummy-key\n")
        trust_folder()
    else:
        here.setenv(name, said)
    assert value_at(load_settings(), path) == value


@pytest.mark.parametrize("file", [".ccproxy.toml", "ccproxy.toml", ".config/ccproxy/config.toml"])
def test_a_configuration_file_is_read_where_it_was_promised(here, file):
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text("[server]\nport = 8123\n")
    trust_folder()
    assert load_settings().server.port == 8123


def test_logins_are_found_where_they_were_promised(here, tmp_path):
    settings = load_settings()
    assert tmp_path / ".config/claude/.credentials.json" in ClaudeIssuer(settings.claude).files
    assert tmp_path / ".codex/auth.json" in CodexIssuer(settings.codex).files


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_in_the_tree(file):
    assert (ROOT / file).exists()


def test_the_compose_service_has_its_old_name():
    assert "claude-code-proxy" in load("docker-compose.yml")["services"]


def test_both_names_of_the_command_are_the_same_program():
    said = [
        subprocess.run(
            [*find_script(name), "--version"], capture_output=True, text=True, check=True
        ).stdout
        for name in ("ccproxy", "ccproxy-api")
    ]
    assert said[0] == said[1]


def test_a_generated_token_is_a_line_for_env(tmp_path):
    said = subprocess.run(
        [*find_script("ccproxy"), "generate-token"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.startswith("SECURITY__AUTH_TOKEN=")


@pytest.mark.claude
@pytest.mark.parametrize(("method", "path", "body", "status", "word"), PATHS)
def test_a_path_answers(stack, method, path, body, status, word):
    reply = httpx.request(method, f"{stack.url}{path}", json=body, timeout=50)
    text = reply.text.replace('": ', '":')
    assert (reply.status_code, word in text) == (status, True), reply.text[:500]
    assert "there is nothing at this address" not in text


def test_permissions_are_streamed(stack):
    with httpx.stream("GET", f"{stack.url}/permissions/stream", timeout=30) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        assert "event:" in next(reply.iter_text())


@pytest.mark.long
def test_a_token_is_taken_in_either_header_and_required_everywhere(start_stack):
    stack = start_stack(SECURITY__AUTH_TOKEN="t0ken", SDK__WORKERS="0").wait_ready()
    for header in ({"x-api-key": "t0ken"}, {"authorization": "Bearer t0ken"}):
        assert httpx.get(f"{stack.url}/health", headers=header, timeout=30).status_code == 200
    for method, path, body, *_ in PATHS:
        if path.startswith("/oauth"):
            continue
        reply = httpx.request(method, f"{stack.url}{path}", json=body, timeout=30)
        if path == "/health":  # probes have no token: they are told the status, and no detail
            assert (reply.status_code, reply.json().keys()) == (200, {"status"}), reply.text
        else:
            assert reply.status_code == 401, path


@pytest.mark.parametrize(("promise", "told"), DIFFERENT.items())
def test_what_is_deliberately_different_is_told(promise, told):
    lines = [line for line in (ROOT / "docs/upgrade.md").read_text().splitlines() if told in line]
    assert lines, promise
    assert all(len(cell.strip()) > 3 for cell in lines[0].strip("|").split("|")[:2]), (
        "say what is instead"
    )


def test_a_session_of_codex_keeps_its_conversation(stack, truth):
    """The second request sends one new message, and the provider gets the whole conversation."""
    for said in (NAME, "What is my name?"):
        body = {"model": CODEX_DEFAULT, "messages": [{"role": "user", "content": said}]}
        reply = httpx.post(f"{stack.url}/codex/bob/responses", json=body, timeout=30)
        assert reply.status_code == 200, reply.text
    assert NAME in json.dumps(truth.last("/v1/responses").body)


@pytest.mark.long
@pytest.mark.claude
def test_a_key_for_clients_pays_for_nothing(start_stack):
    stack = start_stack(ANTHROPIC_API_KEY="dummy-key").wait_ready()
    for route in ("api", "sdk"):
        reply = httpx.post(f"{stack.url}/{route}/v1/messages", json=MESSAGES, timeout=50)
        assert reply.status_code == 200, reply.text


@pytest.mark.long
def test_reasoning_reaches_chat_clients_as_tags_where_the_owner_wants_them(start_stack):
    stack = start_stack(MODELS__CHAT_REASONING="tags", SDK__WORKERS="0").wait_ready()
    thinking = [{"role": "user", "content": "[[scenario:thinking]]"}]
    body = {"model": "claude-sonnet-4-5", "messages": thinking, "reasoning_effort": "high"}
    reply = httpx.post(f"{stack.url}/api/v1/chat/completions", json=body, timeout=30).json()
    assert "<thinking>" in reply["choices"][0]["message"]["content"], reply


def test_a_shell_gets_its_completion():
    for shell, word in (("zsh", "#compdef ccproxy"), ("bash", "complete")):
        command = [*find_script("ccproxy"), "--show-completion", shell]
        shown = subprocess.run(command, capture_output=True, text=True, check=True)
        assert word in shown.stdout


def test_a_container_calls_the_command_that_knows_its_user_and_home():
    """`docker compose exec … ccproxy` finds the wrapper, not the program behind it."""
    [path] = re.findall(r"^ENV PATH=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    wrapper, program, *_ = path.split(":")
    assert f"deploy/ccproxy.sh {wrapper}/ccproxy" in (ROOT / "Dockerfile").read_text()
    assert program == "/opt/ccproxy/bin"


def test_every_model_that_was_named_still_means_something(stack):
    """They are retired by their provider; the names pass on, and the provider's own word comes
    back.
    """
    for name in ("claude-opus-4-20250514", "claude-3-7-sonnet-20250219"):
        reply = httpx.post(
            f"{stack.url}/api/v1/messages", json=MESSAGES | {"model": name}, timeout=30
        )
        assert reply.status_code in {200, 404}
        assert "json" in reply.headers["content-type"]
        assert json.loads(reply.content)
        if reply.status_code == 404:
            assert "/api/v1/models" in reply.headers["x-ccproxy-hint"]
