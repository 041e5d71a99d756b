"""The official conformance suite against the fixture and the product, held to `scenarios.json`.

`suite.py SUITE...` takes the command that starts the suite. Three servers are put before it, one
after the other: the fixture, which has all that the suite asks for, on the product's own transport;
and the product with the real API behind it, without sessions and with them. Then the suite plays
servers for `connect`. What the table says has to be what happens: a scenario that fails, one that
the table does not know, and one whose excuse is no longer needed all fail the run.
"""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests" / "scripts"))

import pair  # noqa: E402 (it stands in another folder)
from proxy import Proxy  # noqa: E402

TABLE = json.loads((HERE / "scenarios.json").read_text())
MODERN = "2026-07-28"
# The suite has no scenario for 2024-11-05, which is served too.
REVISIONS = ("2025-03-26", "2025-06-18", "2025-11-25", MODERN)
# It gives an event a second and a half to arrive, which needs a machine that does nothing else.
ALONE = {"server-stateless"}
FIXTURE = pair.TARGET / "debug" / "examples" / "conformance-fixture"
PAGE = ROOT / "docs" / "CONFORMANCE.md"
PASSES = "passes"


class Suite:
    def __init__(self, command):
        self.command = command

    def ask(self, *arguments):
        return subprocess.run(
            [*self.command, *arguments], check=True, capture_output=True, text=True
        ).stdout

    def scenarios(self, role):
        """Scenarios and their revisions: `  - name [revisions]`, under a headline for each role."""
        parts = re.split(r"^(?=\S)", self.ask("list"), flags=re.MULTILINE)
        lines = "".join(part for part in parts if part.lower().startswith(role))
        found = re.findall(r"^\s+- (\S+) \[(.*)\]$", lines, flags=re.MULTILINE)
        return {name: revisions.split(",") for name, revisions in found}

    def required(self, revision):
        """What the frozen set demands, and what is run beside it without counting.

        Revisions that are older than the sets have every scenario that applies to them.
        """
        files = list(
            pathlib.Path(self.command[-1]).parents[1].glob(f"requirements/{revision}.yaml")
        )
        if not files:
            return {
                name
                for name, revisions in self.scenarios("server").items()
                if revision in revisions
            }, set()
        scored, _, beside = files[0].read_text().partition("\nnot_scored:\n")
        server = re.search(r"^server:\n((?:  - .*\n)+)", scored, flags=re.MULTILINE).group(1)
        pairs = re.findall(r"- scenario: (\S+)\n\s+leg: (\S+)", beside)
        return set(re.findall(r"- (\S+)", server)), {name for name, leg in pairs if leg == "server"}

    def run(self, url, scenario, revision):
        """The suite's checks of one scenario: [(id, status, what it says)]."""
        return self.checks("server", "--url", url, scenario=scenario, revision=revision)

    def run_client(self, scenario, revision):
        # The suite hands it to a shell.
        command = shlex.join(map(str, [sys.executable, HERE / "client.py", pair.MCP]))
        return self.checks("client", "--command", command, scenario=scenario, revision=revision)

    def checks(self, *words, scenario, revision):
        with tempfile.TemporaryDirectory() as folder:
            command = [
                *self.command,
                *words,
                "--scenario",
                scenario,
                "--spec-version",
                revision,
                "-o",
                folder,
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            found = list(pathlib.Path(folder).glob("**/checks.json"))
            if len(found) != 1:
                return [("suite", "FAILURE", (done.stdout + done.stderr)[-500:])]
            checks = json.loads(found[0].read_text())
        return [(check["id"], check["status"], check.get("errorMessage") or "") for check in checks]


def judge(entry, checks):
    """What a scenario came to, in a word, and what is wrong with that."""
    excused = entry.get("except", {}) if isinstance(entry, dict) else {}
    bad = {}
    for check, status, said in checks:
        # A warning is a demand that was not met, if only one that the specification calls a SHOULD.
        if status in ("FAILURE", "WARNING"):
            bad[check] = said
    wrong = [f"{check}: {said}" for check, said in bad.items() if check not in excused]
    wrong += [
        f"{check} passes: take its excuse out of the table" for check in excused if check not in bad
    ]
    passed = sum(status == "SUCCESS" for _, status, _ in checks)
    if not passed:
        wrong.append("nothing was checked")
    return f"{passed} passed" + (f", {len(excused)} excused" if excused else ""), wrong


class Server:
    """One of the three, behind a proxy that adds the token."""

    def __init__(self, name, port, secret, close):
        self.name, self.close = name, close
        self.proxy = Proxy(port, lambda: pair.token(secret))
        self.url = f"http://127.0.0.1:{self.proxy.port}/mcp"

    @classmethod
    def fixture(cls):
        port, secret = pair.free_port(), "conformance-" + "s" * 32
        program = subprocess.Popen([FIXTURE, str(port)], env={"JWT_HS256_SECRET": secret})
        until_healthy(f"http://127.0.0.1:{port}/healthz")

        def close():
            program.terminate()
            if program.wait(10) != 0:
                raise SystemExit("the fixture did not leave in good order")

        return cls("fixture", port, secret, close)

    @classmethod
    def product(cls, name, settings):
        both = pair.Pair(mcp=settings)
        return cls(name, int(both.url.rsplit(":", 1)[1]), both.secret, both.close)


def until_healthy(url):
    for _ in range(200):
        try:
            return urllib.request.urlopen(url, timeout=2).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise SystemExit(f"{url} does not answer")


SERVERS = {
    "fixture": Server.fixture,
    "product": lambda: Server.product("product", {}),
    "sessions": lambda: Server.product("sessions", {"TOOLBRIDGE_SERVER_SESSIONS": "stateful"}),
}


def rows(suite):
    """(scenario, revision, whether it counts), and what the table lacks or has too much."""
    found, wrong = [], []
    known, all_there_are = set(TABLE["scenarios"]), set(suite.scenarios("server"))
    for revision in REVISIONS:
        scored, beside = suite.required(revision)
        found += [(name, revision, name in scored) for name in sorted(scored | beside)]
        wrong += [
            f"{name} is required by {revision}, and the suite does not have it"
            for name in scored - all_there_are
        ]
    wrong += [
        f"{name} is in the suite and not in the table" for name in sorted(all_there_are - known)
    ]
    wrong += [
        f"{name} is in the table and not in the suite" for name in sorted(known - all_there_are)
    ]
    for name, columns in TABLE["scenarios"].items():
        reasons = {why for entry in columns.values() for why in words(entry)} - {PASSES}
        wrong += [
            f"{name}: {why} is not among the reasons"
            for why in reasons
            if why not in TABLE["reasons"]
        ]
        wrong += [f"{name}: no word on {column}" for column in SERVERS if column not in columns]
    return found, wrong


def client_rows(suite):
    """(scenario, revision) of what `connect` is run with, and what is wrong with the table."""
    found, wrong, used = [], [], set()
    for name, revisions in suite.scenarios("client").items():
        key = name if name in TABLE["client"] else name.split("/")[0] + "/"
        used.add(key)
        entry = TABLE["client"].get(key)
        if entry is None:
            wrong.append(f"client scenario {name} is in the suite and not in the table")
        elif is_run(entry):
            found += [(name, revision) for revision in revisions if revision in REVISIONS]
    wrong += [
        f"client scenario {key} is in the table and not in the suite"
        for key in TABLE["client"]
        if key not in used
    ]
    reasons = {why for entry in TABLE["client"].values() for why in words(entry)} - {PASSES}
    wrong += [
        f"client: {why} is not among the reasons" for why in reasons if why not in TABLE["reasons"]
    ]
    return found, wrong


def words(entry):
    """All that an entry says: `passes`, or why not. It is one word, or one for each revision, or
    one for each check that is excused."""
    return (
        [entry]
        if isinstance(entry, str)
        else [word for part in entry.values() for word in words(part)]
    )


def entry_of(scenario, column, revision):
    if column == "sessions" and revision == MODERN:
        return "modern"
    entry = TABLE["scenarios"].get(scenario, {}).get(column, "unknown")
    return entry if isinstance(entry, str) else entry.get(revision, entry)


def is_run(entry):
    return entry == PASSES or not isinstance(entry, str)


def run_all(suite, todo):
    results, wrong = {}, []
    for column, start in SERVERS.items():
        server = start()
        mine = [
            (scenario, revision)
            for scenario, revision, _ in todo
            if is_run(entry_of(scenario, column, revision))
        ]
        try:
            for (scenario, revision), checks in each(mine, lambda row: suite.run(server.url, *row)):
                word, faults = judge(entry_of(scenario, column, revision), checks)
                results[scenario, revision, column] = "FAILED" if faults else word
                wrong += [f"{column}, {revision}, {scenario}: {fault}" for fault in faults]
        finally:
            server.close()
    return results, wrong


def run_client(suite, todo):
    results, wrong = {}, []
    for (scenario, revision), checks in each(todo, lambda row: suite.run_client(*row)):
        word, faults = judge(TABLE["client"][scenario], checks)
        results[scenario, revision] = "FAILED" if faults else word
        wrong += [f"connect, {revision}, {scenario}: {fault}" for fault in faults]
    return results, wrong


def each(rows, run):
    """Runs the rows, several at a time but for those that have to be alone."""
    alone = [row for row in rows if row[0] in ALONE]
    others = [row for row in rows if row[0] not in ALONE]
    for row in alone:
        yield row, run(row)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        yield from zip(others, pool.map(run, others))


def client_table(results):
    lines = ["### `connect` as a client", "", "| scenario | result |", "|---|---|"]
    for name, entry in TABLE["client"].items():
        mine = [
            f"{revision}: {word}"
            for (scenario, revision), word in results.items()
            if scenario == name
        ]
        shown = f"`{name}`" if not name.endswith("/") else f"`{name}…`"
        lines.append(f"| {shown} | {'; '.join(mine) or f'– *{entry}*'} |")
    return "\n".join([*lines, ""])


def table(todo, results):
    lines = []
    for revision in REVISIONS:
        mine = [(s, counts) for s, r, counts in todo if r == revision]
        lines += [
            f"### {revision}",
            "",
            "| scenario | fixture | product | product with sessions |",
            "|---|---|---|---|",
        ]
        for scenario, counts in mine:
            cells = []
            for column in SERVERS:
                entry = entry_of(scenario, column, revision)
                cells.append(results.get((scenario, revision, column)) or f"– *{entry}*")
            name = f"`{scenario}`" + ("" if counts else " ¹")
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def page_says(generated):
    """Holds the page to the table, or with UPDATE_DOCS=1 writes it there."""
    lines = textwrap.TextWrapper(100, subsequent_indent="  ", break_on_hyphens=False)
    reasons = "".join(
        lines.fill(f"- *{name}*: {why}") + "\n" for name, why in TABLE["reasons"].items()
    )
    page = written = PAGE.read_text()
    for name, text in (("results", generated), ("reasons", reasons)):
        mark = re.compile(rf"(<!-- {name}: start -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
        page = mark.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)
    if os.environ.get("UPDATE_DOCS"):
        PAGE.write_text(page)
        return []
    return (
        []
        if page == written
        else ["docs/CONFORMANCE.md says something else: UPDATE_DOCS=1 tests/conformance/run"]
    )


def main(command):
    suite = Suite(command)
    todo, wrong = rows(suite)
    client_todo, faults = client_rows(suite)
    wrong += faults
    results, faults = run_all(suite, todo)
    wrong += faults
    client_results, faults = run_client(suite, client_todo)
    wrong += faults
    generated = table(todo, results) + "\n" + client_table(client_results)
    print(generated)
    if not wrong:
        wrong += page_says(generated)
    for fault in wrong:
        print(f"conformance: {fault}", file=sys.stderr)
    for revision in REVISIONS:
        counted = [s for s, r, counts in todo if r == revision and counts]
        green = sum(results.get((s, revision, "fixture"), "FAILED") != "FAILED" for s in counted)
        print(f"{revision}: the fixture passes {green} of {len(counted)} required scenarios")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
