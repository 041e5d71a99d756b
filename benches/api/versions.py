#!/usr/bin/env python3
"""What a write costs because it keeps the version before it.

benches/api/versions.py [--database sqlite|postgres] [--seconds N] [--rounds N] [--json FILE]

Two builds take turns: this one, and one whose writes keep no version. Ratios are medians of those
within a round.
"""

import argparse
import contextlib
import statistics
import sys

import rig
import seed

CALLERS, ITEMS = 16, 200

# A build without versions has another text of this file.
KEEP_VERSION = "internal/store/keep_version.go"
WITHOUT_VERSIONS = """package store

func (c *common) keepVersion(int64, string, Item, *Item) []command { return nil }
"""


def arguments():
    usage = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usage.add_argument("--database", choices=seed.KINDS, help="one only")
    usage.add_argument("--seconds", type=int, default=2, help="how long each round takes [2]")
    usage.add_argument("--rounds", type=int, default=5, help="how often each build is measured [5]")
    usage.add_argument("--json", metavar="FILE", help="write the figures here, too")
    return usage.parse_args()


def measure(kind, builds, options):
    with contextlib.ExitStack() as stack:
        running = {}
        for build, binary in builds.items():
            database = stack.enter_context(seed.KINDS[kind]())
            api = stack.enter_context(rig.Api(database, binary))
            database.fill(1, CALLERS, ITEMS)
            running[build] = api, stack.enter_context(api.callers(range(1, CALLERS + 1)))
            api.load("merge", running[build][1], 1, ITEMS)
        seen = {build: [] for build in builds}
        for number in range(options.rounds):
            for build in list(running)[:: 1 if number % 2 else -1]:
                api, callers = running[build]
                seen[build].append(api.load("merge", callers, options.seconds, ITEMS))
        for build, rounds in seen.items():
            figures = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
            for name in ("cpu", "cpu_all"):
                figures[f"{name}_ratio"] = statistics.median(
                    one[name] / other[name] for one, other in zip(rounds, seen["no versions"])
                )
            yield {"database": kind, "build": build, **figures}


def show(rows):
    print(
        f"{'database':9} {'PATCH of a note':16} {'calls/s':>8} {'p50 ms':>8} {'p99 ms':>8} "
        f"{'CPU µs':>8} {'×':>6} {'CPU all':>8} {'×':>6}"
    )
    for row in rows:
        print(
            f"{row['database']:9} {row['build']:16} {row['rate']:8.0f} {row['p50'] / 1000:8.2f} "
            f"{row['p99'] / 1000:8.2f} {row['cpu']:8.0f} "
            f"{row['cpu_ratio']:6.2f} {row['cpu_all']:8.0f} {row['cpu_all_ratio']:6.2f}"
        )


def main():
    options = arguments()
    kinds = seed.databases(options.database)
    builds = {
        "versions": rig.build(),
        "no versions": rig.build(
            rig.BINARY.with_name("toolbridge-api-no-versions"), {KEEP_VERSION: WITHOUT_VERSIONS}
        ),
    }
    found = [row for kind in kinds for row in measure(kind, builds, options)]
    show(found)
    rig.write(found, options.json)


if __name__ == "__main__":
    sys.exit(main())
