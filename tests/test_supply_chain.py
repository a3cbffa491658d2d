"""What the product is made of: each package of its locks is pinned by hash and has a licence that
fits ours, the bill of materials names exactly these, and an audit finds known vulnerabilities.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from deploy import audit
from deploy.locks import (
    PRODUCT,
    PRODUCT_LOCKS,
    LockedPackage,
    product_packages,
    read_licences,
    read_lock,
)

ROOT = Path(__file__).parent.parent
LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))
# Two letters or more, so that a bare word such as AND or OR is no licence.
IDENTIFIER = re.compile(r"[A-Za-z0-9][\w.-]+")
# What older metadata says instead of an SPDX expression.
OLD_NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD-derived (http://www.repoze.org/LICENSE.txt)": "BSD-3-Clause-Modification",
    "ISC License": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}


@pytest.mark.parametrize("name", LOCKS)
def test_every_line_of_a_lock_is_a_package_with_hashes_and_no_address(name):
    text = (ROOT / name).read_text()
    packages = list(read_lock(text))
    assert not [package.name for package in packages if not package.hashes]
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert sum("==" in line for line in lines) == len(packages)
    assert not [line for line in lines if "://" in line or line.startswith("-")]


def test_a_lock_entry_without_one_version_is_refused():
    with pytest.raises(ValueError, match=r"one version: aiohttp>=3"):
        list(read_lock("aiohttp>=3 \\\n    --hash=sha256:00\n"))


def test_a_lock_says_who_needs_a_package():
    text = "a==1 ; sys_platform == 'win32' \\\n    --hash=sha256:" + "0" * 64
    [alone] = read_lock(text + "\n    # via b-c\n")
    [both] = read_lock(
        text + "\n    # via\n    #   -c requirements.lock\n    #   b\n    #   c (x)\n"
    )
    assert alone == LockedPackage("a", "1", 'sys_platform == "win32"', ("0" * 64,), {"b-c"})
    assert both.brought_by == {"b", "c"}


def test_every_lock_of_the_product_is_one_of_a_release():
    """A lock that is not the product's is a developer's or a release's own."""
    others = {"requirements-dev.lock", "requirements-fuzz.lock", "requirements-release.lock"}
    assert set(LOCKS) - set(PRODUCT_LOCKS) == others


def test_every_package_is_needed_by_the_product_or_by_another_package():
    packages = product_packages()
    for package in packages.values():
        assert package.brought_by
        assert package.brought_by <= {PRODUCT, *packages}


def licences_in(expression: str) -> set[str]:
    return set(IDENTIFIER.findall(expression)) - {"AND", "OR", "WITH"}


def test_every_locked_package_has_a_licence_and_no_other_package_has_one():
    assert read_licences().packages.keys() == product_packages().keys()
    assert read_licences().remarks.keys() <= product_packages().keys()


def test_every_licence_is_an_allowed_one():
    used = {
        licence
        for expression in read_licences().packages.values()
        for licence in licences_in(expression)
    }
    assert used == read_licences().allowed.keys()


def test_a_new_licence_and_a_package_without_one_are_noticed():
    licences = read_licences()
    assert not licences_in("MIT AND GPL-3.0-only") <= licences.allowed.keys()
    assert licences_in("MPL-2.0 AND (Apache-2.0 OR MIT)") <= licences.allowed.keys()


def licences_of_metadata(name: str) -> set[str]:
    """Return the licences that the installed package `name` states, in its newest way to say it."""
    metadata = importlib.metadata.metadata(name)
    if expression := metadata.get("License-Expression"):
        return licences_in(expression)
    said = (metadata.get("License") or "").strip()
    short = OLD_NAMES.get(said, said)
    if short and "\n" not in short:
        return licences_in(short)
    classifiers = metadata.get_all("Classifier", [])
    named = [each.rpartition(" :: ")[2] for each in classifiers if each.startswith("License ::")]
    return {OLD_NAMES[each] for each in named}


@pytest.mark.parametrize("name", product_packages())
def test_the_licence_of_a_package_is_the_one_that_its_metadata_names(name):
    """A package with a remark may have more than its metadata says."""
    try:
        stated = licences_of_metadata(name)
    except importlib.metadata.PackageNotFoundError:
        assert product_packages()[name].condition, "every machine has it, and this one has not"
        pytest.skip("another system or Python has it")
    ours = licences_in(read_licences().packages[name])
    assert stated <= ours
    assert stated == ours or name in read_licences().remarks


def test_a_release_carries_its_bill_of_materials():
    workflow = (ROOT / ".github/workflows/release.yml").read_text()
    built, made, released = map(
        workflow.index, ("hatchling build", "make sbom", "gh release create")
    )
    assert built < made < released
    assert "dist/*" in workflow


@pytest.mark.conformance
@pytest.mark.timeout(300)
def test_the_bill_of_materials_names_what_the_locks_pin_in_the_same_bytes_each_time():
    """`make sbom` itself judges the file by the schema of CycloneDX."""
    made = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        make = ["make", "--silent", "sbom", f"PYTHON={sys.executable}"]
        said = subprocess.check_output(make, cwd=ROOT, env=environment, text=True)
        made.append((ROOT / said.partition(":")[0]).read_bytes())
    assert made[0] == made[1]
    bill = json.loads(made[0])
    found = {}
    for component in bill["components"]:
        [files] = component["externalReferences"]
        hashes = {each["content"] for each in files["hashes"]}
        found[component["name"]] = (component["version"], hashes)
        assert component["licenses"]
    pinned = {
        package.name: (package.version, set(package.hashes))
        for package in product_packages().values()
    }
    assert found == pinned
    assert "timestamp" not in bill["metadata"]


# The locked version of each of these is what the advisories below speak of.
LOCKED = {
    name: LockedPackage(name, version, "", (), frozenset())
    for name, version in {
        "aiohttp": "3.14.5",
        "ruamel-yaml": "0.18",
        "beta": "2.0rc1",
        "first": "0.0b1",
    }.items()
}


def advisory(name: str = "aiohttp", **changed: Any) -> dict[str, Any]:
    affected = {"package": {"ecosystem": "PyPI", "name": name}}
    affected |= {key: changed.pop(key) for key in ("ranges", "versions") if key in changed}
    affected["package"] |= changed.pop("package", {})
    made = {"id": "PYSEC-1", "modified": "2026-11-29T10:00:00Z", "summary": "a leak"}
    return made | {"affected": [affected]} | changed


def between(*events: dict[str, str], kind: str = "ECOSYSTEM") -> dict[str, Any]:
    return {"ranges": [{"type": kind, "events": list(events)}]}


@pytest.fixture
def database(tmp_path):
    def write(*advisories: object) -> Path:
        path = tmp_path / "osv.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for number, each in enumerate(advisories):
                archive.writestr(f"{number}.json", json.dumps(each))
        return path

    return write


AFFECTED = {
    "from the beginning": between({"introduced": "0"}),
    "before the fix": between({"introduced": "3.0"}, {"fixed": "3.14.6"}),
    "the first version itself": between({"introduced": "3.14.5"}, {"fixed": "4"}),
    "the last affected version": between({"introduced": "0"}, {"last_affected": "3.14.5"}),
    "the second of two spans": between(
        {"introduced": "3.14"}, {"fixed": "3.15"}, {"introduced": "1"}, {"fixed": "1.2"}
    ),
    "numbers are no text": between({"introduced": "3.9"}, {"fixed": "3.100"}),
    "a listed version": {"versions": ["3.13", "3.14.5"]},
    "a listed version in another spelling": {"versions": ["dev-2009", "v3.14.5.0"]},
    "a beta of the very first version": {"package": {"name": "first"}}
    | between({"introduced": "0"}),
    "two events in one": between({"introduced": "0", "fixed": "3.15"}),
}
NOT_AFFECTED = {
    "the fixed version": between({"introduced": "0"}, {"fixed": "3.14.5"}),
    "behind the last affected version": between({"introduced": "0"}, {"last_affected": "3.14.4"}),
    "before the first version": between({"introduced": "3.14.6"}),
    "between two spans": between(
        {"introduced": "0"}, {"fixed": "3.0"}, {"introduced": "3.15"}, {"fixed": "3.16"}
    ),
    "other versions are listed": {"versions": ["3.14.4", "3.14.6"]},
    "only commits are named": between({"introduced": "0"}, kind="GIT"),
    "another ecosystem": between({"introduced": "0"}) | {"package": {"ecosystem": "npm"}},
    "withdrawn": between({"introduced": "0"}) | {"withdrawn": "2026-11-01T00:00:00Z"},
    "another package": between({"introduced": "0"}) | {"package": {"name": "aiohttp-cors"}},
}


@pytest.mark.parametrize("case", AFFECTED)
def test_an_audit_finds_a_package_that_is(case, database):
    found, _ = audit.audit(database(advisory(**AFFECTED[case])), LOCKED)
    assert len(found) == 1


@pytest.mark.parametrize("case", NOT_AFFECTED)
def test_an_audit_finds_nothing_where(case, database):
    other = advisory("unrelated", **between({"introduced": "0"}))
    found, _ = audit.audit(database(advisory(**NOT_AFFECTED[case]), other), LOCKED)
    assert not found


def test_an_audit_knows_a_package_by_each_spelling_of_its_name(database):
    found, _ = audit.audit(database(advisory("Ruamel.YAML", versions=["0.18"])), LOCKED)
    assert [finding.package for finding in found] == ["ruamel-yaml"]


def test_a_release_candidate_comes_before_the_release_that_fixes_it(database):
    spans = between({"introduced": "2.0a1"}, {"fixed": "2.0"})
    [found], _ = audit.audit(database(advisory("beta", **spans)), LOCKED)
    assert found.fixed == "2.0"


def test_a_finding_is_one_line_with_everything_to_act_on(database):
    spans = between({"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "2"}, {"fixed": "3.15"})
    first = advisory(aliases=["GHSA-2", "CVE-1"], **spans)
    second = advisory(id="PYSEC-2", summary="", details="Two\nlines", versions=["3.14.5"])
    found, day = audit.audit(database(first, second), LOCKED)
    assert list(map(str, found)) == [
        "PYSEC-1 (CVE-1, GHSA-2): aiohttp 3.14.5, fixed in 3.15: a leak",
        "PYSEC-2: aiohttp 3.14.5, no fixed version: Two",
    ]
    assert day == "2026-11-29"


def run_audit(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "deploy.audit", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_audit_ends_with_an_error_only_where_it_found_something(database):
    count = len(product_packages())
    clean = run_audit(database(advisory("unrelated", versions=["1"])))
    said = f"{count} packages, no known vulnerability in a database of 2026-11-29\n"
    assert (clean.returncode, clean.stdout, clean.stderr) == (0, said, "")
    version = product_packages()["orjson"].version
    found = run_audit(database(advisory("orjson", versions=[version])))
    said = f"PYSEC-1: orjson {version}, no fixed version: a leak\n"
    assert (found.returncode, found.stdout, found.stderr) == (1, said, "")


def test_an_advisory_commands_no_terminal(database):
    version = product_packages()["orjson"].version
    found = run_audit(database(advisory("orjson", versions=[version], summary="\x1b[2Jgone")))
    assert "gone" in found.stdout
    assert "\x1b" not in found.stdout


def test_a_long_summary_is_cut(database):
    [found], _ = audit.audit(database(advisory(versions=["3.14.5"], summary="word " * 999)), LOCKED)
    assert len(found.summary) <= audit.LONGEST_SUMMARY
    assert found.summary.endswith("…")


def test_an_audit_without_a_database_says_how_to_name_one():
    for arguments in ((), ("",), ("a.zip", "b.zip")):
        ended = run_audit(*arguments)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "make audit DATABASE=osv.zip" in ended.stderr


def refusal(path: Path) -> str:
    with pytest.raises(audit.WrongDatabaseError) as refused:
        audit.audit(path, LOCKED)
    return str(refused.value)


def test_an_audit_refuses_a_database_that_it_cannot_trust(database, tmp_path):
    assert refusal(tmp_path / "none.zip").endswith(
        "none.zip cannot be read: No such file or directory."
    )
    (tmp_path / "text.zip").write_text("no zip")
    assert "text.zip is no whole zip file" in refusal(tmp_path / "text.zip")
    whole = database(advisory(versions=["1"])).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    assert "cut.zip is no whole zip file" in refusal(tmp_path / "cut.zip")
    assert "has no advisory about packages of PyPI" in refusal(database())
    elsewhere = advisory(package={"ecosystem": "npm"})
    assert "has no advisory about packages of PyPI" in refusal(database(elsewhere))
    assert refusal(database({"name": "x"})) == "0.json is no advisory of OSV: it has no id."
    unreadable = advisory(**between({"introduced": "0"}, {"fixed": "next year"}))
    assert refusal(database(unreadable)).startswith("The advisory PYSEC-1 cannot be read")
    undated = {key: value for key, value in advisory().items() if key != "modified"}
    assert refusal(database(undated)) == "The advisory PYSEC-1 cannot be read: 'modified'."
    with zipfile.ZipFile(tmp_path / "broken.zip", "w") as archive:
        archive.writestr("broken.json", '{"id": ')
    assert refusal(tmp_path / "broken.zip").startswith("broken.json is no JSON")


def test_the_tools_of_a_release_are_locked_apart_from_the_product():
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    assert groups["release"]
    released = {each.name for each in read_lock((ROOT / "requirements-release.lock").read_text())}
    assert "cyclonedx-python-lib" in released - product_packages().keys()
