#!/usr/bin/env python3
"""How many calls a second the API answers, route by route, on SQLite and on PostgreSQL, and what
they cost.

benches/api/run.py [--database sqlite|postgres] [--route NAME]… [--seconds N] [--rounds N]
[--public-key] [--against BINARY] [--json FILE]

The load is closed: eight connections, each with one request at a time, sent by wrk from the same
machine, for sixteen callers in turn. Every number is the median of the rounds; ±% is half of what
lies between the best and the worst. With --against another build of the API takes part: the rounds
of the two alternate, and the ratios are medians of those within each round.

For a sequence of requests the latencies are those of single requests. CPU is the API's own;
PostgreSQL's is not in it.
"""

import argparse
import contextlib
import statistics
import sys

import rig
import seed

CALLERS, ITEMS = 16, 200

# What load.lua asks, and how it is called here.
ROUTES = {
    "health": "GET /healthz: nothing but HTTP",
    "open": "POST /v1/sync/sessions",
    "get": "GET /v1/notes/{uid}",
    "list": "GET /v1/notes?limit=50",
    "create": "POST /v1/notes",
    "merge": "PATCH /v1/notes/{uid}",
    "session": "open and end a session",
    "read": "open, GET a note, end",
    "write": "open, POST a note, end",
}


def arguments():
    usage = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usage.add_argument("--database", choices=seed.KINDS, help="one only")
    usage.add_argument("--route", choices=ROUTES, action="append", help="these only")
    usage.add_argument(
        "--seconds", type=int, default=1, help="how long each round of each route takes [1]"
    )
    usage.add_argument("--rounds", type=int, default=3, help="how often each route is measured [3]")
    usage.add_argument(
        "--public-key",
        action="store_true",
        help="tokens are signed with RS256, and not with a shared secret",
    )
    usage.add_argument(
        "--against", metavar="BINARY", help="another build, measured in turns with this one"
    )
    usage.add_argument("--json", metavar="FILE", help="write the figures here, too")
    return usage.parse_args()


def spread(values):
    """Half of the distance from the least to the greatest, in percent of the median."""
    return 50 * (max(values) - min(values)) / statistics.median(values)


def measure(kind, builds, routes, options):
    rounds = {(build, route): [] for build in builds for route in routes}
    with contextlib.ExitStack() as stack:
        tokens = {}
        if options.public_key:
            server = stack.enter_context(rig.KeyServer())
            tokens = {"token": server.token, "settings": server.settings}
        running = {}
        for build, binary in builds.items():
            database = stack.enter_context(seed.KINDS[kind]())
            api = stack.enter_context(rig.Api(database, binary, **tokens))
            database.fill(1, CALLERS, ITEMS)
            running[build] = api, stack.enter_context(api.callers(range(1, CALLERS + 1)))
            api.load(
                "get", running[build][1], 1, ITEMS
            )  # so that no route pays for the first connections
        for number in range(options.rounds):
            for route in routes:
                for build in list(running)[:: 1 if number % 2 else -1]:  # in turns also who begins
                    api, callers = running[build]
                    seen = api.load(route, callers, options.seconds, ITEMS)
                    rounds[build, route].append({**seen, "resident": api.resident()})
    for (build, route), seen in rounds.items():
        figures = {name: statistics.median(one[name] for one in seen) for name in seen[0]}
        if "other" in builds:
            pairs = list(zip(seen, rounds["other", route]))
            figures |= {
                f"{name}_ratio": statistics.median(one[name] / other[name] for one, other in pairs)
                for name in ("rate", "cpu")
            }
        yield {
            "database": kind,
            "build": build,
            "route": route,
            **figures,
            "spread": spread([one["rate"] for one in seen]),
        }


def show(rows):
    print(
        f"{'database':9} {'route':32} {'build':6} {'calls/s':>8} {'±%':>4} {'p50 µs':>8} "
        f"{'p99 µs':>8} {'CPU µs':>7} {'MiB':>5}"
    )
    for row in rows:
        print(
            f"{row['database']:9} {ROUTES[row['route']]:32} {row['build']:6} {row['rate']:8.0f} "
            f"{row['spread']:4.0f} {row['p50']:8.0f} "
            f"{row['p99']:8.0f} {row['cpu']:7.0f} {row['resident']:5.0f}"
        )
    for row in rows:
        if row["build"] == "this" and "rate_ratio" in row:
            print(
                f"{row['database']:9} {ROUTES[row['route']]:32} calls/s ×{row['rate_ratio']:.2f}, "
                f"CPU ×{row['cpu_ratio']:.2f}"
            )


def main():
    options = arguments()
    kinds = seed.databases(options.database)
    builds = {"this": rig.build()}
    if options.against:
        builds["other"] = options.against
    rows = []
    for kind in kinds:
        rows += sorted(
            measure(kind, builds, options.route or list(ROUTES), options),
            key=lambda row: list(ROUTES).index(row["route"]),
        )
    show(rows)
    rig.write(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
