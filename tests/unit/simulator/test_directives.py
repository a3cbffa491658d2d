"""Directives in a prompt."""

from __future__ import annotations

from simulator.directives import read_directives


def test_a_prompt_without_directives_asks_for_nothing() -> None:
    found = read_directives("[[ hello ]] [[tool]] [[scenario:]]")
    assert (found.scenario, found.say, found.tools) == ("", "", [])


def test_all_three_are_found_anywhere_in_the_prompt() -> None:
    found = read_directives(
        'please [[scenario:slow-50]] then\n[[tool:Bash {"command":"echo hi"}]][[say:well\ndone]].'
    )
    assert found.scenario == "slow-50"
    assert found.say == "well\ndone"
    assert found.tools == [("Bash", {"command": "echo hi"})]


def test_several_tools_keep_their_order_and_may_have_no_input() -> None:
    found = read_directives('[[tool:Read {"file_path":"a]]b"}]] [[tool:Stop]]')
    assert found.tools == [("Read", {"file_path": "a]]b"}), ("Stop", {})]


def test_a_tool_with_broken_json_is_plain_text() -> None:
    assert read_directives('[[tool:Bash {"command":]] [[tool:Bash {"a":1} x]]').tools == []


def test_a_tool_within_the_input_of_another_is_not_called() -> None:
    found = read_directives('[[tool:Agent {"prompt":"[[tool:Look]] [[tool:Go]]"}]] [[tool:Read]]')
    assert found.tools == [("Agent", {"prompt": "[[tool:Look]] [[tool:Go]]"}), ("Read", {})]


def test_each_credential_may_have_a_scenario_of_its_own() -> None:
    found = read_directives("[[scenario:text]] [[login:429-60]] [[api-key:529]]")
    assert found.scenario_for("login") == "429-60"
    assert found.scenario_for("api_key") == "529"
    assert found.scenario_for("") == "text"
    assert read_directives("[[login:cut]]").scenario_for("api_key") == ""
