"""Take all measurements: `make bench`, or some of them: `make bench BENCH_ARGS="--only sdk"`.

Each part returns one section of docs/benchmarks.md, which is printed and written to the page. What
measures less than a whole section (`--quick`, `--load`) is printed only.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

from benchmarks import analytics, gateways, growth, instructions, memory, peers, scale, sdk
from benchmarks.report import Section, load_average, write_section

Part = Callable[[argparse.Namespace], Section]

PARTS: Mapping[str, Part] = {
    "gateways": lambda chosen: gateways.compare_gateways(
        chosen.load, 0.25 if chosen.quick else 1, chosen.rounds
    ),
    "peers": lambda chosen: peers.run(quick=chosen.quick),
    "sdk": lambda chosen: sdk.run(rounds=3 if chosen.quick else 10),
    "analytics": lambda chosen: analytics.run(quick=chosen.quick),
    "instructions": lambda _: instructions.run(),
    "memory": lambda _: memory.run(),
    "scale": lambda _: scale.run(),
    "growth": lambda chosen: growth.run(quick=chosen.quick),
}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--only", default="", choices=["", *PARTS], help="take this part alone")
    options.add_argument(
        "--quick", action="store_true", help="measure for a shorter time, and write no page"
    )
    options.add_argument(
        "--load", default="", help="loads of gateways whose name contains this; writes no page"
    )
    options.add_argument(
        "--rounds", type=int, default=1, help="rounds of gateways; their medians are shown"
    )
    chosen = options.parse_args()
    names = [chosen.only or "gateways"] if chosen.only or chosen.load else list(PARTS)
    for name in names:
        begun = load_average()
        section = PARTS[name](chosen)
        print(f"## {section.title}\n\n{section.body()}\n", flush=True)
        if not chosen.quick and not chosen.load:
            write_section(section, begun=begun)


if __name__ == "__main__":
    main()
