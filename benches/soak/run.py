"""Both programs as they are released, under load for minutes: does either grow? Prints a table,
writes what it saw to a file of samples, and fails unless memory, descriptors and threads stay where
they are and no session is left behind.

    scripts/soak [MINUTES] [--callers N] [--postgres] [--no-build]
"""

import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
for folder in ("api", "macro"):
    sys.path.insert(0, str(ROOT / "benches" / folder))

import programs  # noqa: E402
import rig  # noqa: E402
from growth import growth  # noqa: E402

EVERY = 5
SETTLED_WITHIN = 30


class Watched:
    """A program, and where its figures are."""

    def __init__(self, name, program, metrics, figures):
        self.name, self.program, self.metrics, self.figures = name, program, metrics, figures

    def scrape(self):
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.metrics}/metrics", timeout=10
        ) as answer:
            text = answer.read().decode()
        seen = {}
        for line in text.splitlines():
            name = line.split("{")[0].split(" ")[0]
            if name in self.figures:
                seen[self.figures[name]] = seen.get(self.figures[name], 0) + float(
                    line.rsplit(" ", 1)[1]
                )
        return seen

    def sample(self):
        folder = pathlib.Path(f"/proc/{self.program.process.pid}")
        sample = {
            "rss_mib": round(self.program.resident(), 2),
            "fds": len(list((folder / "fd").iterdir())),
            "threads": self.program.status("Threads"),
            **self.scrape(),
        }
        return {f"{self.name}.{key}": value for key, value in sample.items()}


def api(database):
    port, metrics = programs.free_port(), programs.free_port()
    environment = {
        **programs.SECRETS,
        "PATH": os.environ["PATH"],
        "HTTP_ADDR": f"127.0.0.1:{port}",
        "METRICS_ADDR": f"127.0.0.1:{metrics}",
        "DATABASE_URL": database,
        "RATE_LIMIT_PER_MINUTE": "0",
        # At info there would be gigabytes of lines.
        "LOG_LEVEL": "warn",
    }
    figures = {
        "go_goroutines": "goroutines",
        "toolbridge_api_sessions_open": "sessions",
        "toolbridge_api_requests_in_flight": "in_flight",
    }
    program = programs.Program([rig.BINARY], environment, port, "/readyz")
    return Watched("api", program, metrics, figures)


def server(behind):
    metrics = programs.free_port()
    settings = {"TOOLBRIDGE_METRICS_ADDR": f"127.0.0.1:{metrics}", "TOOLBRIDGE_LOG_LEVEL": "warn"}
    figures = {
        "toolbridge_mcp_tool_calls_in_flight": "in_flight",
        "toolbridge_mcp_sessions_open": "sessions",
    }
    return Watched("server", programs.server(behind, **settings), metrics, figures)


def load(port, tokens, callers, seconds):
    return subprocess.Popen(
        [
            "wrk",
            f"-t{callers}",
            f"-c{callers}",
            f"-d{seconds}s",
            "--timeout",
            "30s",
            "-s",
            pathlib.Path(__file__).with_name("load.lua"),
            f"http://127.0.0.1:{port}",
        ],
        env={**os.environ, "LOAD_TOKENS": tokens},
        stdout=subprocess.PIPE,
        text=True,
    )


def watch(watched, wrk, into):
    """Samples until the load ends."""
    rows, began, due = [], time.monotonic(), EVERY
    writer = None
    while True:
        try:
            wrk.wait(max(0.0, began + due - time.monotonic()))
            return rows
        except subprocess.TimeoutExpired:
            due += EVERY
        row = {"seconds": round(time.monotonic() - began, 1)}
        for one in watched:
            row.update(one.sample())
        rows.append(row)
        if writer is None:
            writer = csv.DictWriter(into, fieldnames=list(row))
            writer.writeheader()
        writer.writerow(row)
        into.flush()


def settled(watched):
    """What is left after the last call. Sessions are ended after their calls, so it takes a
    moment."""
    until = time.monotonic() + SETTLED_WITHIN
    while True:
        left = {}
        for one in watched:
            scraped = one.scrape()
            left.update(
                {f"{one.name}.{key}": scraped.get(key, 0) for key in ("sessions", "in_flight")}
            )
        # The scrape itself is no request of the API's.
        if not any(left.values()) or time.monotonic() > until:
            return left
        time.sleep(0.2)


def soak(minutes, callers, database, folder):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / time.strftime("%Y%m%dT%H%M%S.csv")
    behind = api(database)
    with (
        behind.program as api_program,
        tempfile.NamedTemporaryFile("w") as tokens,
        open(path, "w", newline="") as into,
    ):
        before = server(api_program)
        with before.program:
            watched = [before, behind]
            tokens.write(
                "".join(f"{programs.token(f'soak-{number}')}\n" for number in range(callers))
            )
            tokens.flush()
            wrk = load(before.program.port, tokens.name, callers, int(minutes * 60))
            rows = watch(watched, wrk, into)
            said = wrk.stdout.read()
            left = settled(watched)
    line = next((line for line in said.splitlines() if line.startswith("LOAD ")), None)
    if wrk.returncode != 0 or line is None:
        raise SystemExit(f"wrk failed:\n{said}")
    first = next((line for line in said.splitlines() if line.startswith("FIRST ")), "")
    return rows, json.loads(line.removeprefix("LOAD ")), left, first, path


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/soak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("minutes", nargs="?", type=float, default=15)
    parser.add_argument("--callers", type=int, default=16, help="how many call at once (16)")
    parser.add_argument(
        "--postgres", action="store_true", help="on a throwaway PostgreSQL in place of SQLite"
    )
    parser.add_argument(
        "--no-build", action="store_true", help="with the programs that were built last"
    )
    options = parser.parse_args()
    if options.postgres:
        rig.with_postgres()
    rig.need("wrk", "wrk")
    if not options.no_build:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
        rig.build()
    with tempfile.TemporaryDirectory() as data:
        database = (
            os.environ["TEST_POSTGRES_URL"] if options.postgres else f"sqlite://{data}/soak.db"
        )
        rows, seen, left, first, path = soak(
            options.minutes, options.callers, database, ROOT / "target/soak"
        )
        size = sum(file.stat().st_size for file in pathlib.Path(data).iterdir()) / 2**20
    names = [
        f"{program}.{what}"
        for program in ("server", "api")
        for what in ("rss_mib", "fds", "threads")
    ] + ["api.goroutines"]
    growths = [growth(name, [row[name] for row in rows]) for name in names]
    print(
        f"{seen['calls']:,} calls in {seen['seconds']:.0f} s, "
        f"{seen['calls'] / seen['seconds']:,.0f} a second by {options.callers} callers; "
        f"p50 {seen['p50'] / 1000:.1f} ms, p99 {seen['p99'] / 1000:.1f} ms; {seen['failed']} "
        f"failed {first}"
    )
    if not options.postgres:
        print(f"the database's files have {size:.0f} MiB, tombstones included")
    print(f"\n{'':20} {'2nd third':>10} {'last third':>10} {'may grow':>9}")
    for each in growths:
        print(
            f"{each.name:20} {each.before:10.1f} {each.after:10.1f} "
            f"{each.allowed:9.1f}  {'flat' if each.flat else 'GROWS'}"
        )
    for name, count in left.items():
        print(f"{name + ' left':20} {'':10} {count:10.0f} {0:9}  {'none' if not count else 'LEFT'}")
    print(f"\nsamples: {path.relative_to(ROOT)}")
    well = all(each.flat for each in growths) and not any(left.values()) and not seen["failed"]
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
