from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from sdk_worker.claude.launch import (
    Launch,
    asks_nobody,
    billing_of,
    command,
    environment,
    login_state,
    refuse_what_cannot_start,
)
from shared.accounts.claude import login_file_in_use
from shared.runtime.errors import ClientError, CredentialsMissing, NotAllowed
from shared.settings.providers import ClaudeSettings, CodeOptions

PROGRAM = Path("/opt/claude")


def test_every_process_is_closed_to_its_surroundings():
    line = command(PROGRAM, Launch(), CodeOptions(), asks=False)
    assert {"--setting-sources=", "--strict-mcp-config", "--no-session-persistence"} <= set(line)
    assert '--settings={"crossSessionInbound":"off"}' in line
    assert "--disallowedTools=ListAgents,SendMessage" in line
    assert "--permission-mode=default" in line


def test_the_owners_options_become_flags_that_cannot_be_read_as_others():
    options = CodeOptions(
        allowed_tools=["Read", "Bash(ls *)"],
        disallowed_tools=["Write"],
        max_turns=3,
        model="--evil",
    )
    line = command(PROGRAM, Launch(), options, asks=False)
    assert {"--allowedTools=Read,Bash(ls *)", "--max-turns=3", "--model=--evil"} <= set(line)
    assert "--disallowedTools=ListAgents,SendMessage,Write" in line


def test_a_request_with_tools_of_its_own_gets_no_others():
    line = command(
        PROGRAM,
        Launch(own_tools=False),
        CodeOptions(allowed_tools=["Bash"], mcp_config="x"),
        asks=False,
    )
    assert {"--tools=", "--allowedTools=mcp__client"} <= set(line)
    assert not any(flag.startswith("--mcp-config") for flag in line)


def test_who_is_asked_is_told_to_the_program():
    line = command(PROGRAM, Launch(), CodeOptions(mcp_config="/etc/mcp.json"), asks=True)
    assert "--permission-prompt-tool=mcp__confirmation__check_permission" in line
    assert "--mcp-config=/etc/mcp.json" in line


def test_allowed_tools_are_rules_of_the_service_when_somebody_is_asked():
    options = CodeOptions(allowed_tools=["Read"])
    assert "--allowedTools=Read" in command(PROGRAM, Launch(), options, asks=False)
    assert not any(
        flag.startswith("--allowedTools") for flag in command(PROGRAM, Launch(), options, asks=True)
    )


@pytest.mark.parametrize(
    ("settings", "nobody"),
    [
        ({}, False),
        ({"code_options": {"permission_mode": "acceptEdits"}}, False),
        ({"code_options": {"permission_mode": "plan"}}, False),
        ({"code_options": {"permission_mode": "bypassPermissions"}}, True),
        ({"builtin_permissions": False}, True),
    ],
)
def test_only_an_explicit_bypass_of_the_owner_asks_nobody(settings, nobody):
    assert asks_nobody(ClaudeSettings(**settings)) is nobody


def test_our_own_secrets_stay_out_of_the_programs_reach():
    inherited = {
        "SECURITY__AUTH_TOKEN": "t",
        "REDIS__URL": "r",
        "CLAUDECODE": "1",
        "PATH": "/bin",
        "HTTPS_PROXY": "p",
    }
    env = environment(ClaudeSettings(), inherited)
    assert not {"SECURITY__AUTH_TOKEN", "REDIS__URL", "CLAUDECODE"} & set(env)
    assert (env["PATH"], env["HTTPS_PROXY"]) == ("/bin", "p")


def test_the_keys_of_the_owners_own_clients_never_pay_for_the_agent():
    inherited = {
        "ANTHROPIC_API_KEY": "k",
        "ANTHROPIC_AUTH_TOKEN": "t",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:8000/api",
        "CLAUDE_CODE_OAUTH_TOKEN": "o",
        "HOME": "/nowhere",
    }
    env = environment(ClaudeSettings(), inherited)
    assert not set(inherited) & set(env) - {"HOME"}


def test_the_token_of_the_settings_reaches_the_program_unless_a_key_is_set():
    token = {"oauth_token": "sk-ant-oat01-x"}
    assert environment(ClaudeSettings(**token), {})["CLAUDE_CODE_OAUTH_TOKEN"] == "sk-ant-oat01-x"
    env = environment(ClaudeSettings(**token, api_key="key"), {})
    assert ("CLAUDE_CODE_OAUTH_TOKEN" in env, env["ANTHROPIC_API_KEY"]) == (False, "key")


def write_login(folder: Path, expires_in: float, refresh_token: str = "") -> Path:
    folder.mkdir(parents=True)
    login = {
        "accessToken": "a",
        "expiresAt": int(1000 * (time.time() + expires_in)),
        "refreshToken": refresh_token,
    }
    file = folder / ".credentials.json"
    file.write_text(json.dumps({"claudeAiOauth": login}))
    return file


def test_the_program_looks_where_the_login_was_found(tmp_path):
    inherited = {"HOME": str(tmp_path)}
    assert "CLAUDE_CONFIG_DIR" not in environment(ClaudeSettings(), inherited)
    older = write_login(tmp_path / ".config/claude", expires_in=60)
    assert environment(ClaudeSettings(), inherited)["CLAUDE_CONFIG_DIR"] == str(older.parent)
    usual = write_login(tmp_path / ".claude", expires_in=-60)  # it can neither serve nor be renewed
    assert environment(ClaudeSettings(), inherited)["CLAUDE_CONFIG_DIR"] == str(older.parent)
    older.unlink()
    assert login_file_in_use(ClaudeSettings(), inherited) == usual
    assert "CLAUDE_CONFIG_DIR" not in environment(ClaudeSettings(), inherited)


def test_a_login_that_comes_changes_or_goes_is_another_state(tmp_path):
    inherited = {"HOME": str(tmp_path)}
    states = [login_state(ClaudeSettings(), inherited)]
    file = write_login(tmp_path / ".claude", expires_in=60)
    states.append(login_state(ClaudeSettings(), inherited))
    file.write_text(file.read_text() + " ")
    states.append(login_state(ClaudeSettings(), inherited))
    assert len(set(states)) == 3
    file.unlink()
    assert login_state(ClaudeSettings(), inherited) == states[0]


def test_address_and_key_of_the_settings_are_used():
    env = environment(
        ClaudeSettings(base_url="http://127.0.0.1:9", api_key="key"),
        {"ANTHROPIC_BASE_URL": "other"},
    )
    assert (env["ANTHROPIC_BASE_URL"], env["ANTHROPIC_API_KEY"]) == ("http://127.0.0.1:9", "key")


def test_a_login_file_is_named_by_its_folder():
    env = environment(ClaudeSettings(credentials_file=Path("/srv/owner/.credentials.json")), {})
    assert env["CLAUDE_CONFIG_DIR"] == "/srv/owner"
    with pytest.raises(CredentialsMissing, match=r"\.credentials\.json"):
        environment(ClaudeSettings(credentials_file=Path("/srv/login.json")), {})


def test_what_the_program_would_refuse_is_refused_with_a_reason(tmp_path):
    with pytest.raises(ClientError, match="working_directory"):
        refuse_what_cannot_start(
            Launch(cwd=str(tmp_path / "none")), CodeOptions(), {}, as_root=False
        )
    bypass = CodeOptions(permission_mode="bypassPermissions")
    with pytest.raises(NotAllowed, match="root"):
        refuse_what_cannot_start(Launch(), bypass, {"IS_SANDBOX": "yes"}, as_root=True)
    refuse_what_cannot_start(Launch(), bypass, {"IS_SANDBOX": "1"}, as_root=True)
    refuse_what_cannot_start(Launch(cwd=str(tmp_path)), bypass, {}, as_root=False)


@pytest.mark.parametrize(
    ("settings", "billed_to"),
    [
        ({"api_key": "sk-ant-x"}, "api_key"),
        ({"oauth_token": "t"}, "subscription"),
        ({}, "subscription"),
    ],
)
def test_who_pays_follows_the_credential_of_the_settings(settings, billed_to):
    assert billing_of(ClaudeSettings(**settings)) == billed_to


def test_a_launch_with_some_of_the_programs_tools_offers_no_others():
    line = command(PROGRAM, Launch(tools=("Read", "Bash"), effort="low"), CodeOptions(), asks=True)
    assert "--tools=Read,Bash" in line
    assert "--effort=low" in line
    assert "--tools=" in command(PROGRAM, Launch(tools=()), CodeOptions(), asks=True)
    whole = command(PROGRAM, Launch(), CodeOptions(), asks=True)
    assert not [flag for flag in whole if flag.startswith(("--tools", "--effort"))]
