"""A measured number in the README and in the documentation says how it is measured.

The rule: a number with a unit of time, size, share, rate or CPU is a measurement. Its section (from
one `#` or `##` heading to the next) names a command that measures or proves it (see MEASURING), or
links to a section that does. Three kinds of numbers are none:

- in a sentence or table row with a setting (`SECTION__FIELD`): its default or its limit;
- in code: an example, or the text of a program;
- in a sentence of NO_MEASUREMENTS: limits and waiting times that the product or a vendor sets.

Decisions tell what was found on their day, and the pages of docs/reference are made from the code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [
    ROOT / "README.md",
    *(
        page
        for page in sorted(DOCS.rglob("*.md"))
        if page.parent.name not in {"decisions", "reference"} and page.name != "states.md"
    ),
]

# Minutes, hours and days are waiting times, dates and windows of vendors. "A second" is mostly the
# rate of something; "within a second" is a promise.
SPELLED = r"(?:two|three|four|five|six|seven|eight|nine|ten|twelve|fifteen|thirty|sixty)"
NUMBER = re.compile(
    r"(?<![\w.])\d[\d,.]* ?(?:[kKMG]i?B|[mµ]?s|(?:milli|micro)?seconds?|%|percent|CPU-s(?:econds?)?"
    r"|\w+/s)(?![\w-])"
    rf"|\b{SPELLED} (?:(?:milli|micro)?seconds|percent)\b"
    r"|\bwithin (?:a|one|half a) second\b"
    rf"|\b(?:twice|half|(?:{SPELLED}|\d[\d,.]*) times) as (?:fast|slow|much|many|large|small)\b"
    r"|\d[\d,.]* [\w ]+ (?:per|each|a|for each) (?:core|CPU-second)\b"
)

MEASURING = re.compile(
    r"make (?:bench|soak|faults|fuzz|coverage|containers|conformance|test(?:-long)?)\b"
    r"|\bpytest (?:-|tests)|tests/[\w/]+\.py|docker image ls"
)
SETTING = re.compile(r"`[A-Z][A-Z_]*__[A-Z_*]+")
FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"^(?:    |\t)(?![-*|\d ]).*$", re.MULTILINE)
CODE = re.compile(r"`[^`\n]+`")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
SECTION = re.compile(r"^(?=##? )", re.MULTILINE)
# A sentence ends with its mark; a list item and a table row end it too.
SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z`*\[])|\n(?=\s*(?:[-*|]|\d+\.)\s?)|\n\s*\n")

# Parts of sentences, by page, with the reason why their numbers are no measurements.
NO_MEASUREMENTS = {
    "docs/how-to/cache.md": {
        "8 MB of checksums": "a limit of the code",
    },
    "docs/how-to/containers.md": {
        "within the last fifteen seconds": "a limit of the health check",
    },
    "docs/how-to/family.md": {
        "takes each change over within a second": "the pause between two looks at the file",
    },
    "docs/how-to/fleet.md": {
        "for 75 seconds": "a limit of the code",
        "silent for three seconds": "a limit of the code",
    },
    "docs/how-to/kubernetes.md": {
        "at 70 % of the requested CPU": "what the manifest asks for",
    },
    "docs/how-to/managed-agents.md": {
        "a schema up to 64 KiB": "a limit of the code",
        "within some 12 seconds": "the length of a lease",
        "its newest 8 MiB of events": "a limit of the code",
    },
    "docs/how-to/notifications.md": {
        "window is used to 80 %": "the threshold of an alert",
        "has one is used to 80 %": "the threshold of an alert",
    },
    "docs/how-to/permissions.md": {
        "files up to 256 KB": "a limit of the code",
        "not within 0.4 s": "a limit of the page",
        "at most 4 KB": "a limit of the code",
        "more than 64 KB": "a limit of the code",
    },
    "docs/how-to/redis-sentinel.md": {
        "four seconds after": "follows from the example's settings",
    },
    "docs/how-to/reverse-proxy.md": {
        "an idle limit of 60 s": "advice for another program",
        "Cloudflare allows 100 s": "a limit of a vendor",
    },
    "docs/how-to/sql.md": {
        "may take 10 seconds": "a limit of the code",
    },
    "docs/how-to/statusline.md": {
        "gives up after two seconds": "a limit of the code",
    },
    "docs/reliability.md": {
        "its last 50 ms": "the pause between two batches of records",
    },
    "docs/security.md": {
        "still for 12 seconds": "a limit of the code",
        "64 KB and 10 seconds for its head": "limits of the code",
        "64 MB for a reply": "a limit of the code",
    },
}


def sections(text: str) -> list[str]:
    """Return the sections of a page, whole, in their order."""
    without_code = FENCED.sub(lambda found: found[0].replace("#", " "), text)
    starts = [found.start() for found in SECTION.finditer(without_code)] or [0]
    if starts[0] != 0:
        starts.insert(0, 0)
    return [text[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


def sentences(section: str) -> Iterator[str]:
    """Yield each sentence, list item and table row of `section`, in one line and without blocks of
    code.
    """
    prose = COMMENT.sub("", INDENTED.sub("", FENCED.sub("", section)))
    for sentence in SENTENCE_ENDS.split(prose):
        if sentence and sentence.strip():
            yield " ".join(sentence.split())


def measured(sentence: str) -> str:
    """Return the first number of `sentence` that counts as a measurement, or an empty text."""
    if SETTING.search(sentence):
        return ""
    found = NUMBER.search(CODE.sub("`…`", sentence))
    return found[0] if found else ""


def anchor(section: str) -> str:
    """Return the anchor of the heading of `section`, as the site makes it."""
    title = section.partition("\n")[0].lstrip("# ")
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", title).strip().lower())


def has_command(section: str, page: Path, *, by_link: bool = True) -> bool:
    """Return whether `section` names a command that measures, or links to a section that does."""
    if MEASURING.search(section):
        return True
    if not by_link:
        return False
    for name, wanted in LINK.findall(section):
        target = page.parent / name if name else page
        if target.suffix != ".md" or not target.is_file():
            continue
        for each in sections(target.read_text()):
            # Without an anchor, a link leads to the beginning of its page.
            if not wanted or anchor(each) == wanted:
                if has_command(each, target, by_link=False):
                    return True
                break
    return False


def claims_without_command(text: str, page: Path) -> list[str]:
    """Return each sentence of `text` with a measurement whose section has no command."""
    return [
        sentence
        for section in sections(text)
        if not has_command(section, page)
        for sentence in sentences(section)
        if measured(sentence)
    ]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_measured_number_has_its_command_in_its_section(page):
    excepted = NO_MEASUREMENTS.get(name_of(page), {})
    claims = claims_without_command(page.read_text(), page)
    unproved = [claim for claim in claims if not any(part in claim for part in excepted)]
    assert not unproved, "name the command, link to its section, or take the number out"
    unused = [part for part in excepted if not any(part in claim for claim in claims)]
    assert not unused, "these exceptions are not needed any more"


def test_every_exception_is_on_a_page_that_exists():
    assert NO_MEASUREMENTS.keys() <= {name_of(page) for page in PAGES}


def test_every_page_with_measurements_is_read():
    assert {"README.md", "docs/benchmarks.md", "docs/scaling.md"} <= {
        name_of(each) for each in PAGES
    }


NUMBERS = (
    "It takes 350 MB.",
    "It takes 1,5 GiB.",
    "An answer takes 20 ms, or 170 µs.",
    "It starts in 3s.",
    "It starts in two seconds.",
    "It takes 0.5 s at rest.",
    "It saves 40 % of it.",
    "It answers 1,200 requests/s.",
    "It takes 3 CPU-seconds.",
    "It is twice as fast.",
    "It is 3 times as fast.",
    "It is ended within a second.",
    "It stores 20,000 rows per CPU-second.",
    "| memory | 350 MB |",
    "- memory: 350 MB",
)
NO_NUMBERS = (
    "It needs 12 requests, 3 workers and Python 3.11.",
    "The default of `SDK__MAX_BYTES` is 350 MB.",
    "The answer is `took 20 ms`.",
    "It looks once a second.",
    "A window has 5 hours.",
    "The model gpt-5.5 has version 2.5s-turbo.",
    "    total 350 MB",
    "```text\ntotal 350 MB\n```",
    "<!-- 350 MB -->",
)
COMMANDS = (
    'Run `make bench BENCH_ARGS="--only memory"`.',
    "    make bench",
    "```sh\nmake soak\n```",
    "See `tests/e2e/test_demo.py`.",
    "Run `pytest -m matrix`.",
    "See [the table](reliability.md).",
    "See [the bus](scaling.md#the-bus).",
)
NO_COMMANDS = (
    "Run `make demo`, then `ccproxy status`.",
    "See [the glossary](glossary.md).",
    "See [the limits](scaling.md#limits-that-are-settings).",
    "See [elsewhere](nowhere.md).",
)
SEEDED = DOCS / "seeded.md"


@pytest.mark.parametrize("claim", NUMBERS)
def test_a_number_without_a_command_is_noticed(claim):
    assert claims_without_command(f"# Page\n\n{claim}\n", SEEDED)


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_number_that_is_no_measurement_needs_no_command(text):
    assert not claims_without_command(f"# Page\n\n{text}\n", SEEDED)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_covers_its_section_and_no_other(command):
    claim = "It takes 350 MB."
    assert not claims_without_command(f"# Page\n\n## A\n\n{command}\n\n{claim}\n", SEEDED)
    assert not claims_without_command(f"## A\n\n{command}\n\n### B\n\n{claim}\n", SEEDED)
    assert claims_without_command(f"# Page\n\n{command}\n\n## A\n\n{claim}\n", SEEDED)


@pytest.mark.parametrize("text", NO_COMMANDS)
def test_what_measures_nothing_covers_no_number(text):
    assert claims_without_command(f"# Page\n\n{text} It takes 350 MB.\n", SEEDED)
