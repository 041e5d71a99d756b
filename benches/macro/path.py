#!/usr/bin/env python3
"""The whole path: calls through both programs, beside the same requests sent to the API directly.

benches/macro/path.py [--database sqlite|postgres] [--server BINARY] [--rounds N] [--seconds N]
                      [--json FILE]

A call is a session opened, a request made in it, and the session ended, on both ways. The MCP
server verifies the token, signs each request and writes its log, its audit trail and its metrics;
wrk, which sends to the API directly, repeats one signature of version 1. The rounds of the two
alternate, and a ratio is the median of those within a round. One user has 200 notes.

All of it shares this machine. With --server nothing is built, and tools that it lacks are left out.
"""

import argparse
import contextlib
import json
import pathlib
import re
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "api"))
import load  # noqa: E402
import programs  # noqa: E402
import rig  # noqa: E402
import seed  # noqa: E402

CONNECTIONS = (1, 50)
NOTES = 200
NOTE = {"title": "A note", "content": "Some words that somebody wrote. " * 6, "tags": ["a", "b"]}
BATCH = 25
UID = f"{1:08x}-0000-7000-8000-{7:012x}"


def creations():
    """The operations of a batch."""
    notes = ({**NOTE, "title": f"Note {number}"} for number in range(BATCH))
    return {"operations": [{"op": "create", "kind": "note", "fields": note} for note in notes]}


# What is called: the tool with its arguments, and the request that it makes of the API.
CALLS = {
    "get": ("get_note", {"uid": UID}, "GET", f"/v1/notes/{UID}", ""),
    "list": ("list_notes", {"limit": 50}, "GET", "/v1/notes?limit=50", ""),
    "search": (
        "search",
        {"query": "singular"},
        "POST",
        "/v1/search",
        json.dumps({"query": "singular"}),
    ),
    "create": ("create_note", NOTE, "POST", "/v1/notes", json.dumps(NOTE)),
    "batch": (
        "batch",
        creations(),
        "POST",
        "/v1/batch",
        json.dumps(creations()),
    ),
}


def arguments():
    usage = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usage.add_argument("--database", choices=seed.KINDS, help="one only")
    usage.add_argument("--server", metavar="BINARY", help="an MCP server that is built already")
    usage.add_argument("--rounds", type=int, default=3, help="how often each is measured [3]")
    usage.add_argument("--seconds", type=int, default=2, help="how long each time [2]")
    usage.add_argument("--json", metavar="FILE", help="write the figures here, too")
    return usage.parse_args()


def tools_of(server, token):
    listed = json.loads(load.ask(server.port, load.message(token, "tools/list", {})))
    return {tool["name"] for tool in listed["result"]["tools"]}


def index_version():
    text = (rig.ROOT / "api/internal/search/text.go").read_text()
    return int(re.search(r"^const Version = (\d+)$", text, re.MULTILINE)[1])


def measure(kind, options):
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(seed.KINDS[kind]())
        settings = {
            name: programs.SECRETS[name] for name in ("JWT_HS256_SECRET", "TENANT_HEADER_SECRET")
        }
        api = stack.enter_context(rig.Api(database, settings=settings))
        database.fill(1, 1, NOTES)
        # Each search would look how far the index is with what was not written by the API.
        database.run(f"UPDATE users SET indexed = {index_version()}")
        server = stack.enter_context(programs.server(api))
        token = programs.token(rig.subject(1))
        callers = stack.enter_context(api.callers([1]))
        load.ask(
            server.port,
            load.call(token, "create_note", title="A singular note", content="x"),
        )
        database.run(seed.SETTLE[kind])
        there = tools_of(server, token)
        for name, (tool, given, method, path, body) in CALLS.items():
            if tool not in there:
                continue
            request = load.call(token, tool, **given)
            for connections in CONNECTIONS:
                rounds = [
                    (
                        load.wrk(server.port, request, connections, options.seconds),
                        api.load(
                            "call",
                            callers,
                            options.seconds,
                            connections=connections,
                            body=body,
                            path=path,
                            method=method,
                        ),
                    )
                    for _ in range(options.rounds)
                ]
                ratios = [whole["rate"] / direct["rate"] for whole, direct in rounds]
                yield {
                    "database": kind,
                    "call": name,
                    "connections": connections,
                    "whole": statistics.median(whole["rate"] for whole, _ in rounds),
                    "direct": statistics.median(direct["rate"] for _, direct in rounds),
                    "p50": statistics.median(whole["p50"] for whole, _ in rounds),
                    "ratio": statistics.median(ratios),
                    "least": min(ratios),
                    "greatest": max(ratios),
                }


def main():
    options = arguments()
    kinds = seed.databases(options.database)
    if options.server:
        programs.SERVER = pathlib.Path(options.server)
    else:
        programs.build()
    rig.build()
    # The secrets of both rigs are the same, so that both sign what the API verifies.
    rig.JWT_SECRET = programs.SECRETS["JWT_HS256_SECRET"]
    rig.TENANT_SECRET = programs.SECRETS["TENANT_HEADER_SECRET"]
    found = []
    print(
        f"{'database':9} {'call':7} {'callers':>7} {'calls/s':>8} {'direct':>8} {'ratio':>6} "
        f"{'from … to':>13} {'p50 µs':>8}"
    )
    for kind in kinds:
        for row in measure(kind, options):
            found.append(row)
            print(
                f"{row['database']:9} {row['call']:7} {row['connections']:7} {row['whole']:8.0f} "
                f"{row['direct']:8.0f} {row['ratio']:6.2f} {row['least']:6.2f} … "
                f"{row['greatest']:4.2f} {row['p50']:8.0f}",
                flush=True,
            )
    rig.write(found, options.json)


if __name__ == "__main__":
    main()
