"""The forms of secrets: keys and tokens of vendors, and places where any text is a secret.

A rule has literal beginnings, which are searched for, and a form, which is tried where one of them
stands; so the time is linear in the text. Rules are written for plain text:
`shared/captures/views.py` makes plain text of JSON, of JSON in JSON, and of a text that arrived in
pieces, so no rule knows an escape.

Invariant: no rule takes a quote or a backslash into what is removed, but for the inside of a quoted
value. A removed part therefore never reaches beyond one JSON string, and never ends inside an
escape; rules that could take the quote at the end of one string for the beginning of another are
for plain text alone. No rule finds the mark of an earlier removal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

MARK_START = "[removed:"
_NEW = rf"(?!{re.escape(MARK_START)})"
_WORD = r"(?<![A-Za-z0-9])"  # the beginning of a word
LONGEST = 8192  # characters of one secret
SHORTEST_KNOWN = 8  # characters of a credential that is looked for as it is
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class SecretRule(NamedTuple):
    """A form of secrets, tried at every occurrence of a text of `begins`; the texts are in lower
    case for a rule with `any_case`. The secret is the form's group, or the whole match without a
    group. `plain` rules do not fit raw JSON text.
    """

    kind: str
    begins: tuple[str, ...]
    form: re.Pattern[str]
    any_case: bool = False
    plain: bool = False


class FoundSecret(NamedTuple):
    """The place and the kind of a secret in a text."""

    start: int
    end: int
    kind: str


def find_secrets(text: str, rules: Sequence[SecretRule]) -> Iterator[FoundSecret]:
    """Yield the secrets in plain text; secrets may overlap."""
    lower = text.lower()
    if len(lower) != len(text):  # a letter whose small form is two
        lower = text.translate(_LOWER)
    for rule in rules:
        searched = lower if rule.any_case else text
        for begin in rule.begins:
            at = searched.find(begin)
            while at >= 0:
                found = rule.form.match(text, at)
                if found is None:
                    at = searched.find(begin, at + 1)
                    continue
                yield FoundSecret(*found.span(found.lastindex or 0), rule.kind)
                at = searched.find(begin, found.end())


def rules_for_known(known: Sequence[str]) -> tuple[SecretRule, ...]:
    """Return the rule for the credentials `known`, or no rule without any of a useful length."""
    named = {each for each in known if len(each) >= SHORTEST_KNOWN}
    begins = tuple(sorted(named, key=lambda each: (-len(each), each)))
    form = re.compile("|".join(map(re.escape, begins)))
    return (SecretRule("credential", begins, form),) if begins else ()


def _vendor(kind: str, tail: str, *begins: str) -> SecretRule:
    """Return the rule for keys that begin with a text of `begins` and go on with `tail`."""
    named = "|".join(map(re.escape, begins))
    return SecretRule(kind, begins, re.compile(f"{_WORD}(?:{named}){tail}"))


# The shortest length is low, because a reply may break off inside of a key.
_VENDORS = (
    _vendor("anthropic_key", r"[\w-]{4,}", "sk-ant-"),
    _vendor("openai_key", r"[\w-]{4,}", "sk-proj-", "sk-svcacct-", "sk-admin-", "sk-or-"),
    _vendor("openai_key", r"[\w-]{16,}", "sk-", "sess-"),
    _vendor("ccproxy_token", r"[\w-]{12,}", "ccp_"),
    _vendor("google_key", r"[\w.-]{12,}", "AIza", "ya29.", "GOCSPX-", "1//0"),
    _vendor("aws_key", r"[A-Z0-9]{12,}", "AKIA", "ASIA", "AROA", "AIDA", "AGPA", "ABIA", "ACCA"),
    _vendor("aws_key", r"[\w+/=]{16,}", "ABSK"),
    _vendor("github_token", r"\w{12,}", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"),
    _vendor(
        *("gitlab_token", r"[\w.-]{8,}", "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-"),
        *("glsoat-", "glagent-", "glimt-", "gloas-"),
    ),
    _vendor("slack_token", r"[a-z]-[\w-]{8,}", "xox"),
    _vendor("slack_token", r"[\w-]{8,}", "xapp-", "xwfp-"),
    _vendor(
        *("stripe_key", r"\w{8,}", "sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_"),
        *("pk_test_",),
    ),
    _vendor("stripe_key", r"[\w+/=]{12,}", "whsec_"),
    _vendor("package_token", r"[\w-]{16,}", "npm_", "pypi-", "dckr_pat_", "dckr_oat_"),
    _vendor(
        *("model_vendor_key", r"[\w-]{12,}", "hf_", "gsk_", "xai-", "r8_", "pplx-", "nvapi-"),
        *("csk-", "tgp_v1_", "jina_", "fw_"),
    ),
    _vendor(
        *("cloud_token", r"[\w.+/=-]{12,}", "dop_v1_", "doo_v1_", "dor_v1_", "dp.pt.", "dp.st."),
        *("dp.ct.", "dp.sa.", "hvs.", "hvb.", "hvr.", "tskey-", "sbp_", "PMAK-", "nfp_"),
        *("vercel_", "glsa_", "glc_"),
    ),
    _vendor("cloud_token", r"[a-f0-9]{24,}", "dapi"),
    _vendor(
        *("service_token", r"[\w.=-]{12,}", "SG.", "shpat_", "shpca_", "shppa_", "shpss_"),
        *("lin_api_", "ntn_", "figd_", "sq0atp-", "sq0csp-", "AGE-SECRET-KEY-1", "sntrys_"),
        *("sntryu_", "ATATT", "phx_", "phc_"),
    ),
    _vendor("service_token", r"[0-9a-f]{24,}", "SK", "key-"),
    SecretRule(
        "service_token", (":AA",), re.compile(r"(?<=\d{8}):(AA[\w-]{20,})")
    ),  # Telegram's bots
    _vendor("jwt", r"[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*){0,3}", "eyJ"),
)

# The ends of the names of secrets, with any separator between their words.
_NAMES = {
    "api": r"api[_.-]?key",
    "secret": r"secret(?:[_.-]?(?:access)?[_.-]?key)?",
    "access": r"access[_.-]?key(?:[_.-]?id)?",
    "private": r"private[_.-]?key",
    "encryption": r"encryption[_.-]?key",
    "signing": r"signing[_.-]?key",
    "master": r"master[_.-]?key",
    "account": r"account[_.-]?key",
    "shared": r"shared[_.-]?key",
    "license": r"license[_.-]?key",
    "deploy": r"deploy[_.-]?key",
    "session": r"session[_.-]?key",
    "pass": r"pass(?:word|wd|wort|phrase|code)",
    "pwd": r"pwd",
    "token": r"token",
    "credential": r"credentials?",
    "connection": r"connection[_.-]?string",
}
_NAME = f"(?:{'|'.join(_NAMES.values())})"
# Possessive, so that a join never gives a sign back to the value.
_JOIN = r"\s{0,4}+(?>:=|=>|[:=])\s{0,4}+"
_MEMBER = r'"\s{0,4}:\s{0,4}"'  # between the name and the value of a member in JSON
# A value in quotes may hold escapes, each of which is taken whole.
_IN_DOUBLE = rf'{_NEW}((?:[^"\\]|\\.){{1,{LONGEST}}})'
_IN_SINGLE = rf"'{_NEW}([^'\"\\]{{1,{LONGEST}}})"
_UNQUOTED = rf"{_NEW}([^\s\"'\\`<>]{{4,{LONGEST}}})"
_ENV = ("KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "PWD", "PASS", "CREDENTIAL", "DSN", "AUTH")
_ENV_NAME = rf"(?:{'|'.join(_ENV)})[A-Z0-9_]{{0,40}}="


def _named(form: str, *, plain: bool = False) -> SecretRule:
    found = re.compile(f"{_NAME}{form}", re.IGNORECASE | re.ASCII)
    return SecretRule("named_secret", tuple(_NAMES), found, any_case=True, plain=plain)


def _any_case(kind: str, form: str, *begins: str, plain: bool = False) -> SecretRule:
    return SecretRule(kind, begins, re.compile(form, re.IGNORECASE | re.ASCII), True, plain)


_OPTIONS = ("-password", "-passwd", "-token", "-secret", "-api-key", "-apikey", "-auth")
_OPTION = rf"(?:{'|'.join(_OPTIONS)})[\s=]{{1,4}}+"
_QUERY = (
    *("key=", "token=", "auth=", "sig=", "signature=", "password=", "passwd=", "pwd="),
    *("secret=", "code=", "credential=", "x-amz-security-token="),
)
_SCHEME = r"(?:(?:bearer|basic|token|digest)\s{1,4})?"

RULES: tuple[SecretRule, ...] = (
    SecretRule(
        "private_key",
        ("-----BEGIN ",),
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----"
            r"(?:[A-Za-z0-9+/=\s:,]|-(?!----))*"
            r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----)?"
        ),
    ),
    *_VENDORS,
    # The secret half of an AWS key has no beginning of its own; it stands near the other half.
    SecretRule(
        "aws_secret",
        ("AKIA", "ASIA"),
        re.compile(
            r"(?:AKIA|ASIA)[A-Z0-9]{12,30}[^A-Za-z0-9+/\"][^\"]{0,200}?"
            r"(?<![A-Za-z0-9+/])([A-Za-z0-9+/]{40})(?![A-Za-z0-9+/=])"
        ),
    ),
    _any_case(
        "authorization",
        rf"(?:bearer|basic)\s{{1,4}}{_NEW}((?=[\w.~+/=-]*[0-9=]|[\w.~+/=-]{{24}})[\w.~+/=-]{{8,}})",
        *("bearer", "basic"),
    ),
    _any_case("authorization", f"authorization{_JOIN}{_SCHEME}{_UNQUOTED}", "authorization"),
    _any_case("authorization", f"authorization{_MEMBER}{_SCHEME}{_IN_DOUBLE}", "authorization"),
    _any_case(
        "authorization",
        f"authorization[\"']?{_JOIN}[\"']{_SCHEME}{_UNQUOTED}",
        "authorization",
        plain=True,
    ),
    _any_case(
        "cookie",
        rf"cookie2?[\"']?\s{{0,4}}:\s{{0,4}}[\"']?{_NEW}([^\s\"'\\=;]{{1,256}}=[^\r\n\"'\\]+)",
        "cookie",
    ),
    _any_case(
        "password_in_url",
        rf"://[^\s:/?#\"'\\@<>]{{0,128}}:{_NEW}([^\s\"'\\/<>]{{1,512}})@",
        "://",
    ),
    _any_case(
        "secret_in_query",
        rf"(?<=[?&;_-])(?:{'|'.join(_QUERY)}){_NEW}([^\s\"'\\&#<>]{{4,}})",
        *_QUERY,
    ),
    _any_case(
        "webhook", r"hooks\.slack\.com/(?:services|workflows)/([\w/-]{8,})", "hooks.slack.com/"
    ),
    _any_case("webhook", r"/api/webhooks/(\d+/[\w-]{16,})", "/api/webhooks/"),
    _named(f"{_MEMBER}{_IN_DOUBLE}"),
    _named(f'["\']?{_JOIN}"{_IN_DOUBLE}', plain=True),
    _named(f"[\"']?{_JOIN}{_IN_SINGLE}"),
    _named(f"{_JOIN}{_UNQUOTED}"),
    SecretRule("env_value", _ENV, re.compile(rf"{_ENV_NAME}{_NEW}([^\s\"'\\]{{3,{LONGEST}}})")),
    SecretRule("env_value", _ENV, re.compile(f'{_ENV_NAME}"{_IN_DOUBLE}'), plain=True),
    SecretRule("env_value", _ENV, re.compile(f"{_ENV_NAME}{_IN_SINGLE}")),
    _any_case(
        "named_secret",
        rf"login\s{{1,4}}[^\s\"'\\]{{1,128}}\s{{1,4}}password\s{{1,4}}{_NEW}([^\s\"'\\]{{3,}})",
        "login",
    ),
    _any_case(
        "named_secret",
        rf"(?:-u|--user|--proxy-user)[\s=]{{1,4}}[^\s:\"'\\]{{1,128}}:{_NEW}([^\s\"'\\]{{3,}})",
        *("-u", "--user", "--proxy-user"),
    ),
    _any_case("named_secret", rf"{_OPTION}{_NEW}([^\s\"'\\-][^\s\"'\\]{{3,}})", *_OPTIONS),
    _any_case(
        "named_secret",
        rf"(?:{_OPTION}|(?:-u|--user)[\s=]{{1,4}})[\"']{_NEW}([^\s\"'\\-][^\"'\\]{{3,512}})",
        *("-u", "--user", *_OPTIONS),
        plain=True,
    ),
    SecretRule("named_secret", ('"auth"',), re.compile(f'"auth{_MEMBER}{_IN_DOUBLE}')),
)

# A run of base64 this long is a file, most often an image.
BLOB = re.compile(r"[A-Za-z0-9+/]{1024,}={0,2}|[A-Za-z0-9_-]{1024,}={0,2}")
# Base64 of a length that a secret has; it is decoded and looked at.
ENCODED = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,}={0,2}")
