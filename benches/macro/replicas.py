#!/usr/bin/env python3
"""Two servers, each with an API of its own, on one PostgreSQL: whether what one writes is there for
the other at once, and what the second pair brings.

benches/macro/replicas.py [--rounds N] [--seconds N]

One pair under load and both under the same load take turns. All of it, PostgreSQL and the callers
included, shares this machine's processors, so on a small one the second pair brings little; that it
costs nothing is what can be seen.
"""

import argparse
import concurrent.futures
import contextlib
import json
import pathlib
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "api"))
import load  # noqa: E402
import programs  # noqa: E402
import rig  # noqa: E402
import seed  # noqa: E402

CALLERS = 8
SEEN = 200


class Pair:
    def __init__(self, stack, database):
        settings = {
            name: programs.SECRETS[name] for name in ("JWT_HS256_SECRET", "TENANT_HEADER_SECRET")
        }
        self.api = stack.enter_context(rig.Api(database, settings=settings))
        self.server = stack.enter_context(programs.server(self.api))

    def call(self, token, tool, **arguments):
        answer = json.loads(load.ask(self.server.port, load.call(token, tool, **arguments)))
        return answer["result"]["structuredContent"]


def what_one_writes_the_other_reads(pairs, token):
    """To the last field."""
    here, there = pairs
    for number in range(SEEN):
        made = here.call(token, "create_note", title=f"Note {number}", content="x")
        read = there.call(token, "get_note", uid=made["uid"])
        if read != made:
            raise SystemExit(f"written {made}, read {read}")
        here, there = there, here
    return made["uid"]


def rate(pairs, request, seconds):
    """Of as many callers in all, whatever the number of pairs."""
    each = 2 * CALLERS // len(pairs)
    with concurrent.futures.ThreadPoolExecutor() as at_once:
        runs = [
            at_once.submit(load.wrk, pair.server.port, request, each, seconds) for pair in pairs
        ]
        return sum(run.result()["rate"] for run in runs)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured [3]")
    parser.add_argument("--seconds", type=int, default=3, help="how long each time [3]")
    options = parser.parse_args()
    rig.with_postgres()
    programs.build()
    rig.build()
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(seed.Postgres())
        pairs = [Pair(stack, database), Pair(stack, database)]
        token = programs.token()
        uid = what_one_writes_the_other_reads(pairs, token)
        print(f"{SEEN} notes written through one pair were read through the other at once")
        calls = {
            "get_note": load.call(token, "get_note", uid=uid),
            "create_note": load.call(token, "create_note", title="Groceries", content="x" * 200),
        }
        for name, request in calls.items():
            both_ways = [
                (rate(pairs[:1], request, options.seconds), rate(pairs, request, options.seconds))
                for _ in range(options.rounds)
            ]
            one, two = (statistics.median(each) for each in zip(*both_ways))
            ratio = statistics.median(two / one for one, two in both_ways)
            print(
                f"{name:12} one pair {one:7.0f} calls/s, two {two:7.0f}, x {ratio:.2f}", flush=True
            )


if __name__ == "__main__":
    main()
