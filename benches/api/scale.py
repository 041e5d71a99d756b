#!/usr/bin/env python3
"""Whether a call costs more when there is more: with a thousand, a hundred thousand and a million
items, and with a hundred thousand sessions.

benches/api/scale.py [--database sqlite|postgres] [--seconds N] [--rounds N] [--json FILE]

Each size is a database of its own with an API of its own. Of N items, all of them notes, half
belong to one user and the others to users with a hundred each; "one" is measured with the former's,
"many" with those of up to sixteen of the latter. The sizes take turns, so that whatever else the
machine does falls upon all of them. Ratios are against the smallest in the same round, their median
over the rounds.
"""

import argparse
import base64
import contextlib
import statistics
import sys

import rig
import seed

FEW = 100  # items of each of the many
CALLERS = 16

# name: items, open sessions
SIZES = {"10³": (10**3, 0), "10⁵": (10**5, 0), "10⁶": (10**6, 0), "10³, 10⁵ open": (10**3, 10**5)}
SMALLEST = "10³"

# name: what load.lua asks, and whose items
ROUTES = {
    "get, one": ("get", "one"),
    "get, many": ("get", "many"),
    "first page, one": ("list", "one"),
    "first page, many": ("list", "many"),
    "page in the middle, one": ("page", "one"),
    "create, one": ("create", "one"),
    "create, many": ("create", "many"),
    "session, many": ("session", "many"),
}


def arguments():
    usage = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usage.add_argument("--database", choices=seed.KINDS, help="one only")
    usage.add_argument(
        "--seconds", type=int, default=1, help="how long each round of each route takes [1]"
    )
    usage.add_argument("--rounds", type=int, default=3, help="how often each route is measured [3]")
    usage.add_argument("--json", metavar="FILE", help="write the figures here, too")
    return usage.parse_args()


class Size:
    """A running API with so much in its database. The one user has the number 1, the many
    follow."""

    def __init__(self, stack, kind, items, sessions):
        self.items = items // 2
        database = stack.enter_context(seed.KINDS[kind]())
        self.api = stack.enter_context(rig.Api(database))
        others = self.items // FEW
        database.fill(1, 1, self.items)
        database.fill(2, others, FEW)
        step = max(1, others // CALLERS)
        self.callers = {
            "one": stack.enter_context(self.api.callers([1])),
            "many": stack.enter_context(self.api.callers(range(2, 2 + others, step)[:CALLERS])),
        }
        self.before = self.api.resident()
        self.sessions = sessions
        if sessions:
            database.open_sessions(self.api, self.callers["many"], sessions)

    def load(self, route, seconds):
        ask, whose = ROUTES[route]
        items = self.items if whose == "one" else FEW
        middle = f"notes|{seed.FIRST_TIME + items // 2}|ffffffff-ffff-ffff-ffff-ffffffffffff"
        cursor = base64.urlsafe_b64encode(middle.encode()).decode().rstrip("=")
        return self.api.load(ask, self.callers[whose], seconds, items, cursor)


def measure(kind, options):
    with contextlib.ExitStack() as stack:
        sizes = {name: Size(stack, kind, *size) for name, size in SIZES.items()}
        rounds = {(route, name): [] for route in ROUTES for name in sizes}
        for size in sizes.values():
            size.load("get, many", 1)  # so that none pays for the first connections
        for number in range(options.rounds):
            for route in ROUTES:
                # In turns also who begins.
                for name in list(sizes)[:: 1 if number % 2 else -1]:
                    rounds[route, name].append(sizes[name].load(route, options.seconds))
        for (route, name), seen in rounds.items():
            smallest = rounds[route, SMALLEST]
            ratio = {
                what: statistics.median(
                    one[what] / other[what] for one, other in zip(seen, smallest)
                )
                for what in ("cpu", "p50")
            }
            yield {
                "database": kind,
                "route": route,
                "size": name,
                **{what: statistics.median(one[what] for one in seen) for what in seen[0]},
                "cpu_ratio": ratio["cpu"],
                "p50_ratio": ratio["p50"],
                "resident_before": sizes[name].before,
                "resident": sizes[name].api.resident(),
            }


def show(rows):
    print(
        f"{'database':9} {'route':24} {'size':15} {'calls/s':>8} {'p50 µs':>8} {'× 10³':>6} "
        f"{'p99 µs':>8} {'CPU µs':>7} {'× 10³':>6} {'MiB':>5}"
    )
    for row in rows:
        print(
            f"{row['database']:9} {row['route']:24} {row['size']:15} {row['rate']:8.0f} "
            f"{row['p50']:8.0f} {row['p50_ratio']:6.2f} "
            f"{row['p99']:8.0f} {row['cpu']:7.0f} {row['cpu_ratio']:6.2f} {row['resident']:5.0f}"
        )


def main():
    options = arguments()
    kinds = seed.databases(options.database)
    rig.build()
    rows = [row for kind in kinds for row in measure(kind, options)]
    show(rows)
    rig.write(rows, options.json)


if __name__ == "__main__":
    sys.exit(main())
