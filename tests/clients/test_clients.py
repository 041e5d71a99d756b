"""The matrix: real clients, the real server, the real API behind it. What each client saw is judged
here, once for all.

A row is one client in one way of speaking. It runs three times: as a user, without a token, and
with an expired one.
"""

import concurrent.futures
import dataclasses
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scripts"))
import pair  # noqa: E402

PAGE = pair.ROOT / "docs" / "CLIENTS.md"
# When these versions were chosen as the newest, and the table was written.
TRIED = "27 November 2026"
LEGACY, MODERN = "2025-11-25", "2026-07-28"
TIMEOUT = 60
# As long as a person may wait to hear that the token is wrong.
BOUND = 20
REMOTE = ["mcp-remote", "{url}", "--header", "Authorization: Bearer {token}"]


@dataclasses.dataclass
class Row:
    name: str
    package: str
    program: str
    how: str
    mode: str
    transport: object
    protocol: str
    # What a person reads without a token and with an expired one: what has to be in it.
    missing: str
    expired: str


BEARER, EXPIRED = "a bearer token is required", "the token has expired"
HTTP_401 = "the server requires authorization (HTTP 401)"

PYTHON, FASTMCP, INSPECTOR = "python_sdk.py", "fastmcp_client.py", "inspector.py"
V1, V2 = "typescript_v1.mjs", "typescript_v2.mjs"
REGISTRATION = "this server registers no clients and issues no tokens: connect with the header"
ROWS = [
    Row("Python SDK", "mcp", PYTHON, "HTTP, legacy", "legacy", "http", LEGACY, BEARER, EXPIRED),
    Row("Python SDK", "mcp", PYTHON, "HTTP, auto", "auto", "http", MODERN, BEARER, EXPIRED),
    Row("Python SDK", "mcp", PYTHON, "HTTP, 2026-07-28", MODERN, "http", MODERN, BEARER, EXPIRED),
    Row(
        "Python SDK",
        "mcp",
        PYTHON,
        "SSE",
        "legacy",
        "sse",
        LEGACY,
        "401 Unauthorized",
        "401 Unauthorized",
    ),
    Row("fastmcp", "fastmcp", FASTMCP, "HTTP, auto", "auto", "http", MODERN, BEARER, EXPIRED),
    Row(
        "fastmcp",
        "fastmcp",
        FASTMCP,
        "SSE",
        "legacy",
        "sse",
        LEGACY,
        "401 Unauthorized",
        "401 Unauthorized",
    ),
    Row(
        "TypeScript SDK 1",
        "@modelcontextprotocol/sdk",
        V1,
        "HTTP",
        "",
        "http",
        LEGACY,
        BEARER,
        EXPIRED,
    ),
    Row(
        "TypeScript SDK 1", "@modelcontextprotocol/sdk", V1, "SSE", "", "sse", LEGACY, "401", "401"
    ),
    Row(
        "TypeScript SDK 2",
        "@modelcontextprotocol/client",
        V2,
        "HTTP, legacy",
        "legacy",
        "http",
        LEGACY,
        BEARER,
        EXPIRED,
    ),
    Row(
        "TypeScript SDK 2",
        "@modelcontextprotocol/client",
        V2,
        "HTTP, auto",
        "auto",
        "http",
        MODERN,
        HTTP_401,
        HTTP_401,
    ),
    Row(
        "TypeScript SDK 2",
        "@modelcontextprotocol/client",
        V2,
        "HTTP, 2026-07-28",
        MODERN,
        "http",
        MODERN,
        HTTP_401,
        HTTP_401,
    ),
    Row(
        "TypeScript SDK 2",
        "@modelcontextprotocol/client",
        V2,
        "SSE",
        "legacy",
        "sse",
        LEGACY,
        "401",
        "401",
    ),
    Row(
        "Inspector",
        "@modelcontextprotocol/inspector",
        INSPECTOR,
        "HTTP, legacy",
        "legacy",
        "http",
        LEGACY,
        BEARER,
        EXPIRED,
    ),
    Row(
        "Inspector",
        "@modelcontextprotocol/inspector",
        INSPECTOR,
        "HTTP, modern",
        "modern",
        "http",
        MODERN,
        HTTP_401,
        HTTP_401,
    ),
    Row(
        "Inspector",
        "@modelcontextprotocol/inspector",
        INSPECTOR,
        "SSE",
        "legacy",
        "sse",
        LEGACY,
        "401",
        "401",
    ),
    Row(
        "mcp-remote",
        "mcp-remote",
        PYTHON,
        "HTTP",
        "legacy",
        [*REMOTE, "--transport", "http-only"],
        LEGACY,
        REGISTRATION,
        REGISTRATION,
    ),
    Row(
        "mcp-remote",
        "mcp-remote",
        PYTHON,
        "SSE",
        "legacy",
        [*REMOTE, "--transport", "sse-only"],
        LEGACY,
        REGISTRATION,
        REGISTRATION,
    ),
    Row(
        "toolbridge-mcp connect",
        "",
        PYTHON,
        "HTTP, legacy",
        "legacy",
        [str(pair.MCP), "connect", "{url}"],
        LEGACY,
        "no token",
        EXPIRED,
    ),
    Row(
        "toolbridge-mcp connect",
        "",
        PYTHON,
        "HTTP, modern",
        MODERN,
        [str(pair.MCP), "connect", "{url}"],
        MODERN,
        "no token",
        EXPIRED,
    ),
    Row(
        "toolbridge-mcp stdio",
        "",
        PYTHON,
        "a pipe, legacy",
        "legacy",
        [str(pair.MCP), "stdio"],
        LEGACY,
        "no token",
        EXPIRED,
    ),
    Row(
        "toolbridge-mcp stdio",
        "",
        PYTHON,
        "a pipe, modern",
        MODERN,
        [str(pair.MCP), "stdio"],
        MODERN,
        "no token",
        EXPIRED,
    ),
]


@dataclasses.dataclass
class Run:
    code: object
    seconds: float
    lines: list
    said: str

    def of(self, name):
        return [line for line in self.lines if line["saw"] == name]


def only(command, token):
    """The command of a transport, without the header where there is no token."""
    if not token:
        command = [
            word for word in command if word not in ("--header", "Authorization: Bearer {token}")
        ]
    return command


def run(both, row, token):
    url, sse = both.url + "/mcp", both.url + "/sse"
    transport = row.transport
    if isinstance(transport, list):
        address = sse if "sse-only" in transport else url
        transport = json.dumps(
            [word.format(url=address, token=token) for word in only(transport, token)]
        )
    nodes = [str(path) for path in HERE.glob("node_modules/node-linux-*/bin")]
    program = [sys.executable if row.program.endswith(".py") else "node", row.program]
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.pathsep.join(
                [*nodes, str(HERE / "node_modules" / ".bin"), os.environ["PATH"]]
            ),
            "HOME": home,
            # Nobody is there to look at a browser.
            "BROWSER": "false",
            "URL": url,
            "SSE_URL": sse,
            "MODE": row.mode,
            "TRANSPORT": transport,
        }
        if token:
            environment |= {"TOKEN": token, "TOOLBRIDGE_TOKEN": token}
        if "stdio" in row.transport:
            environment |= {
                "JWT_HS256_SECRET": both.secret,
                "TENANT_HEADER_SECRET": both.tenant_secret,
                "TOOLBRIDGE_TENANT_ID": "acme",
                "TOOLBRIDGE_GO_API_BASE_URL": both.api_url,
            }
        start = time.monotonic()
        process = subprocess.Popen(
            program,
            cwd=HERE,
            env=environment,
            text=True,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            out, err = process.communicate(timeout=TIMEOUT)
            code = process.returncode
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, err = process.communicate()
            code = "it hung"
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    return Run(code, time.monotonic() - start, lines, out + err)


def versions():
    lock = json.loads((HERE / "package-lock.json").read_text())["packages"]
    found = {"": "this one"}
    for row in ROWS:
        if row.package and f"node_modules/{row.package}" in lock:
            installed = json.loads(
                (HERE / "node_modules" / row.package / "package.json").read_text()
            )
            found[row.package] = installed["version"]
        elif row.package:
            found[row.package] = importlib.metadata.version(row.package)
    return found


RUNS = {}


def setUpModule():
    with_both = pair.Pair()
    unittest.addModuleCleanup(with_both.close)
    jobs = {}
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for number, row in enumerate(ROWS):
            subject = f"matrix-{number}"
            for kind, token in [
                ("served", with_both.token(sub=subject)),
                ("missing", ""),
                ("expired", with_both.token(sub=subject, ttl=-3600)),
            ]:
                jobs[number, kind] = pool.submit(run, with_both, row, token)
    RUNS.update({key: job.result() for key, job in jobs.items()})


class Matrix(unittest.TestCase):
    def each(self, judge):
        for number, row in enumerate(ROWS):
            with self.subTest(f"{row.name}, {row.how}"):
                judge(number, row)

    def test_whoever_has_a_token_does_everything(self):
        self.each(lambda number, row: self.served(RUNS[number, "served"], row))

    def served(self, run, row):
        self.assertEqual(run.code, 0, run.said)
        self.assertEqual([line["value"] for line in run.of("protocol")], [row.protocol])
        self.assertEqual([line["value"] for line in run.of("tools")], [pair.tool_count()])
        steps = [(line["saw"], line["failed"]) for line in run.lines if "failed" in line]
        self.assertEqual(
            steps,
            [
                ("create_note", False),
                ("list_notes", False),
                ("update_note", False),
                ("update_note", True),
                ("get_note", False),
                ("delete_note", False),
                ("list_notes", False),
            ],
        )
        created, listed, updated, stale, got, deleted, empty = (
            json.loads(line["text"]) for line in run.lines if "failed" in line
        )
        uid = created["uid"]
        self.assertEqual([item["uid"] for item in listed["items"]], [uid])
        self.assertEqual((updated["uid"], updated["version"]), (uid, created["version"] + 1))
        error = stale["error"]
        self.assertEqual(
            (error["category"], error["code"], error["retryable"]),
            ("conflict", "version_mismatch", False),
        )
        self.assertIn("get_note", error["suggested_action"])
        self.assertEqual(
            {
                key: error["details"][key]
                for key in ("status", "uid", "expected_version", "actual_version")
            },
            {
                "status": 412,
                "uid": uid,
                "expected_version": created["version"],
                "actual_version": updated["version"],
            },
        )
        self.assertEqual((got["payload"]["title"], got["version"]), ("Second", updated["version"]))
        self.assertEqual(deleted["uid"], uid)
        self.assertEqual(empty["items"], [])

    def test_whoever_has_no_token_is_told(self):
        self.each(lambda number, row: self.told(RUNS[number, "missing"], row.missing))

    def test_whoever_has_an_expired_token_is_told(self):
        self.each(lambda number, row: self.told(RUNS[number, "expired"], row.expired))

    def told(self, run, words):
        self.assertEqual(run.code, 1, run.said)
        self.assertLess(run.seconds, BOUND)
        self.assertIn(words.lower(), run.said.lower())
        self.assertFalse(
            [line for line in run.lines if line.get("failed") is False], "it was let in"
        )

    def test_the_page_says_so(self):
        table = [
            "| client | version | tried | how | revision | does everything | says without a token "
            "| says with an expired one |",
            "|---|---|---|---|---|---|---|---|",
        ]
        found = versions()
        for number, row in enumerate(ROWS):
            try:
                self.served(RUNS[number, "served"], row)
                does = "yes"
            except AssertionError:
                does = "no"
            table.append(
                f"| {row.name} | {found[row.package]} | {TRIED} | {row.how} | {row.protocol} "
                f"| {does} | “{row.missing}” | “{row.expired}” |"
            )
        start, end = "<!-- matrix: start -->\n", "<!-- matrix: end -->"
        page = PAGE.read_text()
        made = re.sub(
            f"(?s){start}.*?{end}", lambda _: start + "\n" + "\n".join(table) + "\n\n" + end, page
        )
        if os.environ.get("UPDATE_DOCS"):
            PAGE.write_text(made)
        else:
            self.assertEqual(
                page, made, "docs/CLIENTS.md is out of date: UPDATE_DOCS=1 tests/clients/run"
            )


if __name__ == "__main__":
    unittest.main()
