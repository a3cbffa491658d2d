"""A search for inputs that break a target: `python -m tests.fuzz.search run sse --minutes 60`.

Where its wheel is installed, atheris leads the search by the code that an input reaches
(requirements-fuzz.lock; Linux on x86-64). Elsewhere, or with `--engine hypothesis`, hypothesis
changes the seeds, and makes a find smaller. Every find is kept in `.cache/fuzz/finds` with its
smallest input, the search goes on, and a find makes the exit code 1.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parent.parent.parent
CACHE = ROOT / ".cache" / "fuzz"
PRODUCT = ["shared", "gateway", "sdk_worker", "permission_service"]
LONGEST = 16 * 1024
EXAMPLES = 2000
COUNTED = re.compile(r"^#(\d+)\s.*?cov: (\d+) ft: (\d+) corp: (\d+)/", re.MULTILINE)
DONE = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)


@dataclass(slots=True)
class Result:
    """What a search of one target did. `corpus` and `covered` are 0 without atheris."""

    target: str
    engine: str
    seconds: float
    executions: int = 0
    corpus: int = 0
    covered: int = 0
    finds: int = 0
    failed: str = ""

    def line(self) -> str:
        rate = self.executions / self.seconds if self.seconds else 0.0
        reached = f"corpus {self.corpus}, coverage {self.covered}" if self.corpus else self.engine
        words = (
            f"{self.target}: {self.executions:,} executions in {self.seconds / 60:.1f} minutes "
            f"({rate:,.0f}/s), {reached}, {self.finds} finds"
        )
        return f"{words}; {self.failed}" if self.failed else words


def search(name: str, seconds: float, engine: str) -> Result:
    """Search one target in a process of its own, so that a crash ends that process alone."""
    begun = time.monotonic()
    log = CACHE / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    finds = CACHE / "finds"
    before = time.time()
    command = [sys.executable, "-m", "tests.fuzz.search", "child", name]
    command += ["--seconds", f"{seconds:.0f}", "--engine", engine]
    with (
        log.open("w") as written,
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=written, text=True
        ) as child,
    ):
        assert child.stdout is not None
        executions = 0
        for line in child.stdout:
            if line.startswith(("find: ", "  python ")):
                show(line.rstrip())
            elif line.startswith("executions "):
                executions = int(line.split()[1])
    result = Result(name, engine, time.monotonic() - begun, executions)
    said = log.read_text(errors="replace")
    if counted := COUNTED.findall(said):
        _, covered, _, corpus = map(int, counted[-1])
        result.covered, result.corpus = covered, corpus
        result.executions = int(counted[-1][0])
    if done := DONE.search(said):
        result.executions = int(done[1])
    kept = [path for path in finds.glob(f"{name}-*.input") if path.stat().st_mtime >= before]
    result.finds = len(kept)
    if child.returncode or not result.executions:
        result.failed = f"the search ended with code {child.returncode}, see {log}"
    return result


# --- the process of one search ---


def search_with_atheris(name: str, seconds: float) -> None:
    """Search until the time is over. libFuzzer ends the process."""
    import atheris  # noqa: PLC0415

    # Before the product's first import: coverage is put into its code while it is loaded.
    with atheris.instrument_imports(include=PRODUCT):
        from tests.fuzz.targets.every import TARGETS  # noqa: PLC0415
    from tests.fuzz.changing import Changer  # noqa: PLC0415
    from tests.fuzz.executing import Finds, execute  # noqa: PLC0415

    logging.disable(logging.CRITICAL)
    target = TARGETS[name]
    finds = Finds(CACHE / "finds", target)
    corpus = CACHE / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)

    def one(data: bytes) -> None:
        find = execute(target, data)
        if find is not None:
            finds.keep(find, data)

    def native(data: bytes, chance: random.Random) -> bytes:
        del chance
        return bytes(atheris.Mutate(data, LONGEST))

    changer = Changer(target, native)

    def change(data: bytes, most: int, number: int) -> bytes:
        return changer.change(data, random.Random(number))[:most]

    options = [
        f"-max_total_time={seconds:.0f}",
        f"-max_len={LONGEST}",
        "-rss_limit_mb=3000",
        "-timeout=60",
        f"-artifact_prefix={CACHE}/finds/{name}-",
        "-print_final_stats=1",
    ]
    (CACHE / "finds").mkdir(parents=True, exist_ok=True)
    atheris.Setup([sys.argv[0], *options, str(corpus)], one, custom_mutator=change)
    atheris.Fuzz()


def search_with_hypothesis(name: str, seconds: float) -> None:
    """Search until the time is over, and print the number of executions."""
    from tests.fuzz.changing import Changer, change_some_bytes  # noqa: PLC0415
    from tests.fuzz.executing import Finds, execute  # noqa: PLC0415
    from tests.fuzz.targets.every import TARGETS  # noqa: PLC0415

    logging.disable(logging.CRITICAL)
    target = TARGETS[name]
    finds = Finds(CACHE / "finds", target)
    changer = Changer(target, change_some_bytes)
    known: set[str] = set()
    deadline = time.monotonic() + seconds
    executions = 0

    class NewFind(AssertionError):
        pass

    while time.monotonic() < deadline:

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            st.sampled_from(target.seeds()), st.lists(st.integers(0, 2**32), min_size=1, max_size=5)
        )
        def one(data: bytes, numbers: list[int]) -> None:
            nonlocal executions
            if time.monotonic() > deadline:
                return
            for number in numbers:
                data = changer.change(data, random.Random(number))[:LONGEST]
            executions += 1
            find = execute(target, data)
            if find is not None and find.key not in known:
                finds.keep(find, data)
                raise NewFind(find.key)

        try:
            one()
        except (NewFind, ExceptionGroup) as found:
            each = found.exceptions if isinstance(found, ExceptionGroup) else [found]
            known.update(str(error) for error in each)
    show(f"executions {executions}")


def replay(name: str, path: Path) -> int:
    """Run one target on one input; print the failure. Return the exit code."""
    from tests.fuzz.executing import execute  # noqa: PLC0415
    from tests.fuzz.targets.every import TARGETS  # noqa: PLC0415

    find = execute(TARGETS[name], path.read_bytes())
    show(find.words if find is not None else f"{name} takes this input.")
    return 0 if find is None else 1


def show(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(prog="tests.fuzz.search", description=__doc__)
    verbs = found.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="search one target, or all of them in turn")
    run.add_argument("target", help="a name of `list`, or `all`")
    run.add_argument("--minutes", type=float, default=5.0, help="in total")
    run.add_argument("--engine", choices=["atheris", "hypothesis"])
    again = verbs.add_parser("replay", help="run a target on the input of a find")
    again.add_argument("target")
    again.add_argument("file", type=Path)
    verbs.add_parser("list", help="the targets")
    child = verbs.add_parser("child")
    child.add_argument("target")
    child.add_argument("--seconds", type=float)
    child.add_argument("--engine")
    return found


def names_of_targets() -> dict[str, Any]:
    from tests.fuzz.targets.every import TARGETS  # noqa: PLC0415

    return {name: target.about for name, target in TARGETS.items()}


def main(arguments: list[str]) -> int:
    asked = parser().parse_args(arguments)
    if asked.verb == "child":
        with_engine = {"atheris": search_with_atheris, "hypothesis": search_with_hypothesis}
        with_engine[asked.engine](asked.target, asked.seconds)
        return 0
    if asked.verb == "replay":
        return replay(asked.target, asked.file)
    known = names_of_targets()
    if asked.verb == "list":
        show("\n".join(f"{name}: {about}" for name, about in known.items()))
        return 0
    if asked.target != "all" and asked.target not in known:
        show(f"There is no target {asked.target}; there are all, {', '.join(known)}.")
        return 2
    has_atheris = importlib.util.find_spec("atheris") is not None
    engine = asked.engine or ("atheris" if has_atheris else "hypothesis")
    names = list(known) if asked.target == "all" else [asked.target]
    results = []
    for name in names:
        results.append(search(name, asked.minutes * 60 / len(names), engine))
        show(results[-1].line())
    return 1 if any(result.finds or result.failed for result in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
