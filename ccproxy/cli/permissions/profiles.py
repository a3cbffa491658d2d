"""`ccproxy permissions profile`: the words of the command, and the profiles as lines and tables.

The permission service switches; the command sends the choice and prints the new state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ccproxy.cli.away import local_time
from ccproxy.cli.output import show_json, show_line, show_table
from shared.permissions.rules_text import check_profile_name
from shared.runtime.errors import ClientError
from shared.settings.problems import ConfigurationError

PATH = "/permissions/profiles"
FORMS = (
    "Write names of profiles, `off`, `away NAME`, `away off`, `list`, `show NAME` or `copy NAME`."
)


@dataclass(frozen=True, slots=True)
class ProfileRequest:
    """A question to the gateway: `path`, with the body `change` for a change. `shown` is the
    profile to show whole; with `listed` all of them are.
    """

    path: str = PATH
    change: dict[str, Any] | None = None
    listed: bool = False
    shown: str = ""


def read_profile_words(words: list[str]) -> ProfileRequest:
    """Return the question that `words` mean. Raises ConfigurationError."""
    try:
        match words:
            case []:
                return ProfileRequest()
            case ["list"]:
                return ProfileRequest(listed=True)
            case ["show", name]:
                return ProfileRequest(shown=check_profile_name(name))
            case ["copy", name]:
                path = f"{PATH}/{check_profile_name(name)}/copy"
                return ProfileRequest(path, {}, shown=name)
            case ["off"]:
                return ProfileRequest(change={"active": []})
            case ["away", "off"]:
                return ProfileRequest(change={"while_away": []})
            case ["away", _, *_]:
                names = [check_profile_name(name) for name in words[1:]]
                return ProfileRequest(change={"while_away": names})
            case ["away" | "show" | "copy"]:
                raise ConfigurationError(f"`{words[0]}` needs the name of a profile. {FORMS}")
        return ProfileRequest(change={"active": [check_profile_name(name) for name in words]})
    except ClientError as error:
        raise ConfigurationError(f"{error.message} {FORMS}") from error


def show_profiles(answer: dict[str, Any], request: ProfileRequest, *, as_json: bool) -> None:
    """Print the profiles as `request` asks. Raises ConfigurationError for an unknown one."""
    if as_json:
        show_json(answer)
    elif request.shown:
        show_line(profile_in_words(answer, request.shown))
    elif request.listed:
        show_table(["PROFILE", "IN FORCE", "RULES", "FROM", "ABOUT"], rule_profile_rows(answer))
    else:
        show_line(state_in_words(answer))
    if answer["problem"] and not as_json:
        show_line(answer["problem"])


def state_in_words(answer: dict[str, Any]) -> str:
    """Return the profiles in force, those for the time away, and the last change, as sentences."""
    in_force = [profile["name"] for profile in answer["profiles"] if profile["in_force"]]
    sentences = [f"In force: {', '.join(in_force) or 'no profile'}."]
    if answer["while_away"]:
        now = " (now)" if answer["away"] else ""
        sentences.append(f"While away{now}: {', '.join(answer['while_away'])}.")
    if answer["by"]:
        when = local_time(answer["changed_at"])
        sentences.append(f"Last switched by {answer['by']}, {when}.")
    return " ".join(sentences)


def rule_profile_rows(answer: dict[str, Any]) -> list[list[str]]:
    """Return the profiles as rows of a table."""
    return [
        [
            profile["name"],
            _times(answer, profile),
            str(len(profile["rules"]) + profile["accept_edits"]),
            "built in" if profile["built_in"] else "rules file",
            profile["about"],
        ]
        for profile in answer["profiles"]
    ]


def _times(answer: dict[str, Any], profile: dict[str, Any]) -> str:
    if profile["name"] in answer["active"]:
        return "yes"
    if profile["name"] in answer["while_away"]:
        return "yes, while away" if profile["in_force"] else "while away"
    return "no"


def profile_in_words(answer: dict[str, Any], name: str) -> str:
    """Return a profile with its rules as lines. Raises ConfigurationError."""
    profile = next((known for known in answer["profiles"] if known["name"] == name), None)
    if profile is None:
        known = ", ".join(known["name"] for known in answer["profiles"])
        raise ConfigurationError(f"There is no profile {name!r}; there are {known}.")
    origin = "built in" if profile["built_in"] else "in the rules file"
    lines = [f"{name} ({origin}): {profile['about']}".rstrip(": ")]
    if profile["accept_edits"]:
        lines.append("  allow reading and editing inside the working folder (accept_edits)")
    lines += [f"  {rule['text']}  {rule['id']}" for rule in profile["rules"]]
    return "\n".join(lines)
