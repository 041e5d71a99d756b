"""The release build of the server under load, against the floor in the same run: rounds that
alternate, ratios of what stands side by side, medians of the ratios. The API behind both answers
from constants.

    python3 benches/macro/server.py [--rounds N] [--seconds N] [--json FILE]
"""

import argparse
import contextlib
import http.client
import json
import os
import statistics
import subprocess
import threading

import load
import programs
from programs import BENCH, SERVER

MIB = 2**20
IDLE_SAMPLES = 5


class Target:
    """What a figure is held to; `None` where it is only told."""

    def __init__(self, at_most=None, at_least=None):
        self.at_most, self.at_least = at_most, at_least

    def __str__(self):
        if self.at_most is not None:
            return f"≤ {self.at_most:g}"
        return f"≥ {self.at_least:g}" if self.at_least is not None else ""

    def met(self, value):
        if self.at_most is not None:
            return value <= self.at_most
        return value >= self.at_least if self.at_least is not None else None


class Row:
    def __init__(self, name, unit, ours, theirs, ratios, target):
        self.name, self.unit, self.ours, self.theirs, self.ratios, self.target = (
            name,
            unit,
            ours,
            theirs,
            ratios,
            target,
        )

    @property
    def value(self):
        return statistics.median(self.ratios) if self.ratios else self.ours

    def as_json(self):
        return {
            "name": self.name,
            "unit": self.unit,
            "ours": self.ours,
            "theirs": self.theirs,
            "ratio": statistics.median(self.ratios) if self.ratios else None,
            "ratio_range": [min(self.ratios), max(self.ratios)] if self.ratios else None,
            "target": str(self.target),
            "met": self.target.met(self.value),
        }


def print_table(rows):
    print(f"{'':46} {'server':>10} {'beside':>10} {'ratio':>7} {'from … to':>13}  {'target':>8}")
    for row in rows:
        theirs = f"{row.theirs:10.0f}" if row.theirs is not None else " " * 10
        ratio = (
            f"{row.value:7.2f} {min(row.ratios):6.2f}…{max(row.ratios):.2f}"
            if row.ratios
            else " " * 21
        )
        outcome = {True: "met", False: "MISSED", None: ""}[row.target.met(row.value)]
        ours = f"{row.ours:10.0f}" if row.ratios else f"{row.ours:10.1f}"
        print(
            f"{row.name + ', ' + row.unit:46} {ours} {theirs} {ratio}  {str(row.target):>8} "
            f"{outcome}",
            flush=True,
        )


def side_by_side(rounds, ours, theirs):
    """Both, in turn; the first changes from round to round."""
    seen = []
    for number in range(rounds):
        both = {}
        for side in ("ours", "theirs") if number % 2 == 0 else ("theirs", "ours"):
            both[side] = ours() if side == "ours" else theirs()
        seen.append(both)
    return seen


def row(name, unit, key, seen, target):
    mine, theirs = ([both[side][key] for both in seen] for side in ("ours", "theirs"))
    ratios = [a / b for a, b in zip(mine, theirs)]
    return Row(name, unit, statistics.median(mine), statistics.median(theirs), ratios, target)


class Bench:
    def __init__(self, rounds, seconds):
        self.rounds, self.seconds, self.token = rounds, seconds, programs.token()

    def wrk(self, program, request, connections):
        return lambda: load.wrk(program.port, request, connections, self.seconds)

    def tools(self):
        """The calls of the targets, alone and in a crowd."""
        text = "x" * 200
        calls = {
            "get_note": load.call(self.token, "get_note", uid=load.UID),
            "list_notes of 50": load.call(self.token, "list_notes", limit=50),
            "create_note": load.call(self.token, "create_note", title="Groceries", content=text),
        }
        with programs.stub() as api, programs.floor(api) as floor, programs.server(api) as server:
            for name, request in calls.items():
                seen = side_by_side(
                    self.rounds, self.wrk(server, request, 1), self.wrk(floor, request, 1)
                )
                yield row(f"{name}, 1 connection", "p50 µs", "p50", seen, Target(at_most=1.35))
                seen = side_by_side(
                    self.rounds, self.wrk(server, request, 32), self.wrk(floor, request, 32)
                )
                yield row(f"{name}, 32 connections", "calls/s", "rate", seen, Target(at_least=0.70))
                yield row(f"{name}, 32 connections", "p99 µs", "p99", seen, Target(at_most=2))

    def large(self):
        request = load.call(self.token, "get_note", uid=load.UID)
        with (
            programs.stub(item_bytes=1_000_000) as api,
            programs.floor(api) as floor,
            programs.server(api) as server,
        ):
            seen = side_by_side(
                self.rounds, self.wrk(server, request, 4), self.wrk(floor, request, 4)
            )
            yield row("get_note of 1 MB, 4 connections", "calls/s", "rate", seen, Target())
            yield Row("resident after that", "MiB", server.resident(), None, [], Target())

    def lists(self):
        """Against a program that only sends this number of bytes."""
        request = load.tools_list(self.token)
        with programs.stub() as api, programs.server(api) as server:
            size = len(load.ask(server.port, request))
            constant = load.Request("/mcp", request.body, request.headers)
            with programs.stub(constant_bytes=size) as beside:
                seen = side_by_side(
                    self.rounds, self.wrk(server, request, 32), self.wrk(beside, constant, 32)
                )
                yield row(
                    f"tools/list, {size} bytes, 32 connections",
                    "calls/s",
                    "rate",
                    seen,
                    Target(at_least=0.40),
                )

    def ways(self):
        """Other ways in, against plain JSON of the legacy era."""
        legacy = load.call(self.token, "get_note", uid=load.UID)
        modern = load.call(self.token, "get_note", "modern", uid=load.UID)
        with (
            programs.stub() as api,
            programs.server(api, TOOLBRIDGE_SERVER_LEGACY_SSE="true") as server,
        ):
            seen = side_by_side(
                self.rounds, self.wrk(server, modern, 32), self.wrk(server, legacy, 32)
            )
            yield row(
                "modern era against legacy, 32 connections",
                "calls/s",
                "rate",
                seen,
                Target(at_least=0.80),
            )

            def callers(way):
                return lambda: run_callers(server, self.token, way, legacy.body, 8, self.seconds)

            seen = side_by_side(self.rounds, callers("sse"), callers("json"))
            yield row(
                "HTTP+SSE against JSON, 8 callers", "calls/s", "rate", seen, Target(at_least=0.80)
            )

    def telemetry(self):
        """What it costs to be seen."""
        request = load.call(self.token, "get_note", uid=load.UID)
        with programs.stub() as api, contextlib.ExitStack() as running:
            collector = running.enter_context(programs.stub())
            plain = running.enter_context(
                programs.server(
                    api,
                    TOOLBRIDGE_METRICS_ADDR="",
                    TOOLBRIDGE_LOG_LEVEL="warn",
                    TOOLBRIDGE_AUDIT_TO="off",
                )
            )
            seen_by = {
                "log, audit trail and figures": programs.server(api),
                "and every call traced": programs.server(
                    api, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.port}"
                ),
            }
            for name, program in seen_by.items():
                with program as server:
                    seen = side_by_side(
                        self.rounds, self.wrk(server, request, 32), self.wrk(plain, request, 32)
                    )
                    yield row(f"{name}, against neither", "calls/s", "rate", seen, Target())
                    seen = side_by_side(
                        self.rounds, self.wrk(server, request, 1), self.wrk(plain, request, 1)
                    )
                    yield row(f"{name}, against neither", "p50 µs", "p50", seen, Target())

    def size(self):
        with programs.stub() as api:
            starts, idle = [], []
            for _ in range(IDLE_SAMPLES):
                with programs.server(api) as server:
                    starts.append(server.ready_after * 1000)
                    idle.append(server.resident())
            yield Row(
                "from start to ready", "ms", statistics.median(starts), None, [], Target(at_most=50)
            )
            yield Row("idle", "MiB resident", statistics.median(idle), None, [], Target(at_most=10))
            yield from self.crowd(api)
        yield Row("binary", "MiB", os.path.getsize(SERVER) / MIB, None, [], Target(at_most=12))

    def crowd(self, api):
        """A thousand open connections, each of which has called and may call again, and calls going
        on."""
        # More than one caller may hold.
        callers = [
            load.call(programs.token(f"caller-{number}"), "get_note", uid=load.UID)
            for number in range(4)
        ]
        request = load.call(self.token, "get_note", uid=load.UID)
        with programs.server(api) as server:
            kept = []
            for number in range(1000):
                asked = callers[number % len(callers)]
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
                connection.request(asked.method, asked.path, asked.body, asked.headers)
                answer = connection.getresponse()
                if answer.status != 200:
                    raise SystemExit(answer.read().decode())
                answer.read()
                kept.append(connection)
            peaks, over = [], threading.Event()

            def watch():
                while not over.wait(0.05):
                    peaks.append(server.resident())

            watcher = threading.Thread(target=watch)
            watcher.start()
            for _ in range(self.rounds):
                load.wrk(server.port, request, 64, self.seconds)
            over.set()
            watcher.join()
            third = max(1, len(peaks) // 3)
            growth = statistics.median(peaks[-third:]) - statistics.median(peaks[third : 2 * third])
            for connection in kept:
                connection.close()
            yield Row(
                "1,064 connections, 64 of them calling",
                "MiB at most",
                max(peaks),
                None,
                [],
                Target(at_most=60),
            )
            yield Row("growth over the last third of that", "MiB", growth, None, [], Target())


def run_callers(server, token, way, body, count, seconds):
    ran = subprocess.run(
        [BENCH / "callers"],
        env={
            "CALLERS_SERVER": f"127.0.0.1:{server.port}",
            "CALLERS_TOKEN": token,
            "CALLERS_WAY": way,
            "CALLERS_COUNT": str(count),
            "CALLERS_SECONDS": str(seconds),
            "CALLERS_BODY": body,
        },
        capture_output=True,
        text=True,
    )
    if ran.returncode != 0:
        raise SystemExit(f"callers failed: {ran.stdout}{ran.stderr}")
    seen = json.loads(ran.stdout)
    return {"rate": seen["calls"] / seen["seconds"], "p50": seen["p50"], "p99": seen["p99"]}


PARTS = ["tools", "large", "lists", "ways", "telemetry", "size"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "parts", nargs="*", choices=[*PARTS, []], help=f"some of {', '.join(PARTS)} [default: all]"
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each side is measured [default: 5]"
    )
    parser.add_argument("--seconds", type=int, default=3, help="how long each time [default: 3]")
    parser.add_argument("--json", metavar="FILE", help="also write what was measured there")
    arguments = parser.parse_args()
    programs.build()
    bench = Bench(arguments.rounds, arguments.seconds)
    rows = []
    for part in arguments.parts or PARTS:
        new = list(getattr(bench, part)())
        print_table(new)
        rows += new
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump([row.as_json() for row in rows], file, indent=1, ensure_ascii=False)
            file.write("\n")


if __name__ == "__main__":
    main()
