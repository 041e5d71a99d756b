#!/usr/bin/env python3
"""What a search costs beside a get, what the index costs a write, and whether the last messages of
a chat cost more among many.

benches/api/search.py [--database sqlite|postgres] [--items N] [--messages N] [--seconds N]
[--rounds N] [--json FILE]

One user has the items: texts of some forty words out of twenty thousand, common ones more often, as
in a language. The index is made by the API itself, in the background, before anything is measured.
Creates come over eight connections, as in run.py, all other rows over two: the fewer connections,
the more a call costs, since programs sleep in between. All rows of one database take turns in each
round, and the ratios are medians of those within a round. "CPU all" has PostgreSQL's own processor
time in it. "create, no index" is a build whose writes leave the index out.
"""

import argparse
import contextlib
import http.client
import json
import pathlib
import random
import statistics
import sys
import time

import rig
import seed

WORDS = 20_000
CHAT = 100  # messages of each chat
FEW_MESSAGES = 1_000
CONNECTIONS = 2
# A build without an index has another text of this file. Notes, which are created, have no parent.
INDEX = "internal/store/indexed.go"
WITHOUT_INDEX = """package store

func (c *common) indexed(int64, string, *Item, Item) (out []command, parent *string) {
	return nil, nil
}
"""

# A row, and what it asks for. "rare" is in ten items, whatever their number, and "half" in every
# second one.
SEARCHES = {
    "a word in 1 item": {"query": "unique"},
    "a word in 10 items": {"query": "rare"},
    "a word in every second item": {"query": "half"},
    "the same, newest first": {"query": "half", "order": "newest"},
    "the same, counted": {"query": "half", "limit": 0},
    "the same, by kind": {"query": "half", "groupBy": "kind"},
    "two such words": {"query": "half note"},
    "a phrase of such words": {"query": '"half note"'},
    "a prefix of two letters": {"query": "sa*"},
    "a prefix of three letters": {"query": "san*"},
    "a word that is nowhere": {"query": "nowhere"},
    "no query, by tag": {"groupBy": "tag"},
}


def arguments():
    usage = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    usage.add_argument("--database", choices=seed.KINDS, help="one only")
    usage.add_argument(
        "--items", type=int, default=100_000, help="of the user who searches [100000]"
    )
    usage.add_argument(
        "--messages", type=int, default=1_000_000, help="of the user with many chats [1000000]"
    )
    usage.add_argument(
        "--seconds", type=int, default=1, help="how long each round of each row takes [1]"
    )
    usage.add_argument("--rounds", type=int, default=3, help="how often each row is measured [3]")
    usage.add_argument("--row", action="append", help="these only, and get")
    usage.add_argument("--json", metavar="FILE", help="write the figures here, too")
    return usage.parse_args()


def vocabulary(dice):
    parts = [consonant + vowel for consonant in "bdfghklmnprstvw" for vowel in "aeiou"]
    return [
        "".join(dice.choices(parts, k=dice.randint(2, 4))) + dice.choice(["", "n", "s", "r"])
        for _ in range(WORDS)
    ]


def uid(number, item, kind=7):
    return f"{number:08x}-0000-{kind}000-8000-{item:012x}"


def notes(owner, number, count):
    dice = random.Random(1)
    words = vocabulary(dice)
    weights = [1 / (rank + 3) for rank in range(WORDS)]
    drawn = iter(())
    for n in range(count):
        if n % 5000 == 0:
            drawn = iter(dice.choices(words, weights, k=5000 * 34))
        text = [next(drawn) for _ in range(34)]
        if n % 2 == 0:
            text.append("half note" if n % 4 == 0 else "half")
        if n % max(1, count // 10) == count // 20:
            text.append("rare")
        if n == count // 2:
            text.append("unique")
        payload = json.dumps(
            {"title": f"Note number {n}", "content": " ".join(text), "tags": [f"t{n % 20}"]}
        )
        at = seed.FIRST_TIME + n
        yield owner, "notes", uid(number, n + 1), 1, at, at, payload, None


def messages(owner, number, count):
    for n in range(count):
        chat = uid(number, 1 + n % (count // CHAT), 4)
        at = seed.FIRST_TIME + n
        yield (
            owner,
            "chat_messages",
            uid(number, n + 1),
            1,
            at,
            at,
            json.dumps({"chatUid": chat, "content": f"Message {n}"}),
            chat,
        )


class Rig:
    """An API with a database of its own, and one caller for each user: 1 has the notes, 2 few
    messages, 3 many."""

    def __init__(self, stack, kind, options, binary):
        self.options = options
        database = stack.enter_context(seed.KINDS[kind]())
        # The first start makes the tables, the second one indexes what is in them.
        with rig.Api(database, binary) as api:
            api.callers([1, 2, 3]).close()
        ids = {number: number for number in (1, 2, 3)}
        database.add(notes(ids[1], 1, options.items))
        if binary == rig.BINARY:
            database.run("UPDATE users SET indexed = 0 WHERE id = 1")
        database.add(messages(ids[2], 2, FEW_MESSAGES))
        if options.messages:
            database.add(messages(ids[3], 3, options.messages))
        database.run(seed.SETTLE[kind])
        self.api = stack.enter_context(rig.Api(database, binary))
        self.callers = {
            number: stack.enter_context(self.api.callers([number])) for number in (1, 2, 3)
        }
        if binary == rig.BINARY:
            self.await_index()
            database.run(seed.SETTLE[kind])

    def await_index(self):
        began = time.monotonic()
        while "indexed" in self.ask({"limit": 0}):
            time.sleep(0.5)
        print(f"indexed after {time.monotonic() - began:.0f} s", file=sys.stderr)

    def ask(self, body):
        _, token, session, epoch = pathlib.Path(self.callers[1].name).read_text().split()
        connection = http.client.HTTPConnection("127.0.0.1", self.api.port, timeout=rig.TIMEOUT)
        headers = {
            "Authorization": f"Bearer {token}",
            "X-Sync-Session": session,
            "X-Sync-Epoch": epoch,
            **rig.signed_headers(),
        }
        connection.request("POST", "/v1/search", json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise SystemExit(f"{answer.status} {text}")
        return json.loads(text)

    def load(self, row):
        seconds = self.options.seconds
        if row in SEARCHES:
            return self.api.load(
                "search",
                self.callers[1],
                seconds,
                connections=CONNECTIONS,
                body=json.dumps(SEARCHES[row]),
            )
        if row.startswith("the last 20 messages"):
            number, count = (2, FEW_MESSAGES) if row.endswith("10³") else (3, self.options.messages)
            chat = uid(number, 1 + count // CHAT // 2, 4)
            return self.api.load(
                "tail",
                self.callers[number],
                seconds,
                connections=CONNECTIONS,
                path=f"/v1/chat_messages?chatUid={chat}&order=newest&limit=20",
            )
        route = "create" if row.startswith("create") else row
        connections = 8 if route == "create" else CONNECTIONS
        return self.api.load(
            route, self.callers[1], seconds, self.options.items, connections=connections
        )


def rows(options):
    """Each row, and the one that it is compared with."""
    yield "get", "get"
    for row in SEARCHES:
        yield row, "get"
    yield "create, no index", "create, no index"
    yield "create", "create, no index"
    yield "the last 20 messages of a chat among 10³", "the last 20 messages of a chat among 10³"
    if options.messages:
        yield (
            f"the last 20 messages of a chat among {options.messages}",
            "the last 20 messages of a chat among 10³",
        )


def measure(kind, options, bare):
    with contextlib.ExitStack() as stack:
        main = Rig(stack, kind, options, rig.BINARY)
        few = argparse.Namespace(**{**vars(options), "messages": 0})
        without = Rig(stack, kind, few, bare)
        wanted = {
            row: base
            for row, base in rows(options)
            if not options.row or row in options.row or row == "get"
        }
        seen = {row: [] for row in wanted}
        for row in wanted:
            (without if row.endswith("no index") else main).load(row)
        for number in range(options.rounds):
            for row in list(wanted)[:: -1 if number % 2 else 1]:
                seen[row].append((without if row.endswith("no index") else main).load(row))
        for row, base in wanted.items():
            figures = {
                name: statistics.median(one[name] for one in seen[row]) for name in seen[row][0]
            }
            for name in ("cpu", "cpu_all"):
                figures[f"{name}_ratio"] = statistics.median(
                    one[name] / other[name]
                    for one, other in zip(seen[row], seen.get(base, seen[row]))
                )
            yield {"database": kind, "items": options.items, "row": row, **figures}


def show(found):
    print(
        f"{'database':9} {'row':50} {'calls/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU µs':>8} "
        f"{'×':>6} {'CPU all':>8} {'×':>6}"
    )
    for row in found:
        print(
            f"{row['database']:9} {row['row']:50} {row['rate']:8.0f} {row['p50'] / 1000:8.2f} "
            f"{row['p99'] / 1000:8.2f} {row['cpu']:8.0f} "
            f"{row['cpu_ratio']:6.2f} {row['cpu_all']:8.0f} {row['cpu_all_ratio']:6.2f}"
        )


def main():
    options = arguments()
    kinds = seed.databases(options.database)
    rig.build()
    bare = rig.build(rig.BINARY.with_name("toolbridge-api-no-index"), {INDEX: WITHOUT_INDEX})
    found = []
    for kind in kinds:
        seen = list(measure(kind, options, bare))
        show(seen)
        found += seen
    rig.write(found, options.json)


if __name__ == "__main__":
    sys.exit(main())
