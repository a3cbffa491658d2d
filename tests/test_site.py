"""The documentation as a site: it builds without a warning, misses no page, and loads nothing from
elsewhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.matrix import matrix

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BROKEN = ("[gone](nowhere.md)", "[gone](security.md#nowhere)")
ELSEWHERE = re.compile(r'(?:src|href)="((?:https?:)?//[^"]+)"')


def build(at: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--clean", "--strict"]
    return subprocess.run(command, cwd=at, capture_output=True, text=True, timeout=50, check=False)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    return tmp_path


def test_it_builds_with_every_link_and_anchor_right(sources):
    done = build(sources)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    made = {path.relative_to(sources / "site") for path in (sources / "site").rglob("*.html")}
    assert {page.with_stem("index") if page.stem == "README" else page for page in pages} <= made
    loaded = {
        url for page in made for url in ELSEWHERE.findall((sources / "site" / page).read_text())
    }
    assert not [
        url for url in loaded if not url.startswith(("https://zensical.org", "http://localhost"))
    ]


@pytest.mark.parametrize("link", matrix(BROKEN))
def test_a_broken_link_is_noticed(sources, link):
    with (sources / "docs/why.md").open("a") as page:
        page.write(f"\n{link}\n")
    assert build(sources).returncode != 0


def test_every_page_is_in_the_navigation():
    def pages(entries: object) -> set[str]:
        if isinstance(entries, str):
            return {entries}
        nested = entries.values() if isinstance(entries, dict) else entries
        return {page for entry in nested for page in pages(entry)}

    listed = pages(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    assert listed == {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}


def test_the_pictures_of_the_pages_are_those_in_the_tree():
    pages = [ROOT / "README.md", *DOCS.rglob("*.md")]
    shown = {
        name for page in pages for name in re.findall(r"pictures/([\w-]+\.png)", page.read_text())
    }
    assert shown == {path.name for path in (DOCS / "pictures").glob("*.png")}


def test_the_charts_of_the_measurements_are_those_that_the_page_shows():
    page = (DOCS / "benchmarks.md").read_text()
    shown = set(re.findall(r"\]\(pictures/benchmarks/([\w-]+\.svg)\)", page))
    assert shown == {path.name for path in (DOCS / "pictures/benchmarks").glob("*")}
