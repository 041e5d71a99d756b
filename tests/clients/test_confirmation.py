"""Real clients whose person is asked before a batch deletes more than five notes.

Each SDK is asked in every way in which it can be: by a result (2026-07-28), within a session, on
an event stream, and through a pipe. Claude Code has nobody to ask here; what it does then is shown.
"""

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scripts"))
import pair  # noqa: E402

TIMEOUT = 120
MODERN = "2026-07-28"
QUESTION = "Delete 6 notes? “Note 0”, “Note 1”, “Note 2” and 3 more. This can be undone later."
CONNECT = json.dumps([str(pair.MCP), "connect", "{url}"])
STDIO = json.dumps([str(pair.MCP), "stdio"])


@dataclasses.dataclass
class Row:
    name: str
    program: list
    mode: str
    transport: str
    # Whether a question that is withdrawn disappears for the person. By a result, there is nothing
    # to withdraw; TypeScript SDK 1 overlooks the first one, whose id is 0.
    withdraws: bool


def python(how, mode, transport, withdraws):
    return Row(f"Python SDK, {how}", [sys.executable, "asked.py"], mode, transport, withdraws)


def typescript(sdk, how, mode, transport, withdraws):
    program = ["node", "asked.mjs", sdk]
    return Row(f"TypeScript SDK {sdk}, {how}", program, mode, transport, withdraws)


ROWS = [
    python("HTTP with a session", "legacy", "http", True),
    python("HTTP, 2026-07-28", MODERN, "http", False),
    python("SSE", "legacy", "sse", True),
    python("connect, legacy", "legacy", CONNECT, True),
    python("connect, modern", MODERN, CONNECT, False),
    python("stdio, legacy", "legacy", STDIO, True),
    python("stdio, modern", MODERN, STDIO, False),
    typescript("v1", "HTTP with a session", "", "http", False),
    typescript("v1", "SSE", "", "sse", False),
    typescript("v2", "HTTP with a session", "legacy", "http", True),
    typescript("v2", "HTTP, 2026-07-28", MODERN, "http", False),
    typescript("v2", "SSE", "legacy", "sse", True),
]


def run(both, row, answers, subject):
    token = both.token(sub=subject)
    nodes = [str(path) for path in HERE.glob("node_modules/node-linux-*/bin")]
    url = both.url + "/mcp"
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.pathsep.join([*nodes, os.environ["PATH"]]),
            "HOME": home,
            "URL": url,
            "SSE_URL": both.url + "/sse",
            "TOKEN": token,
            "TOOLBRIDGE_TOKEN": token,
            "MODE": row.mode,
            "TRANSPORT": row.transport.replace("{url}", url),
            "ANSWERS": ",".join(answers),
            "SDK": row.program[-1],
        }
        if row.transport == STDIO:
            environment |= {
                "JWT_HS256_SECRET": both.secret,
                "TENANT_HEADER_SECRET": both.tenant_secret,
                "TOOLBRIDGE_TENANT_ID": "acme",
                "TOOLBRIDGE_GO_API_BASE_URL": both.api_url,
            }
        done = subprocess.run(
            row.program[:2],
            cwd=HERE,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done, lines


class Confirmation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.both = pair.Pair(mcp={"TOOLBRIDGE_SERVER_SESSIONS": "stateful"})
        cls.addClassCleanup(cls.both.close)

    def each(self, rows, answers, judge):
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            jobs = [
                (row, pool.submit(run, self.both, row, answers, f"{self.id()} {number}"))
                for number, row in enumerate(rows)
            ]
        for row, job in jobs:
            done, lines = job.result()
            with self.subTest(row.name):
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                judge(lines)

    def seen(self, lines, what):
        return [line["value"] for line in lines if line["saw"] == what]

    def test_only_what_is_accepted_is_made(self):
        def judge(lines):
            self.assertEqual(self.seen(lines, "asked"), [QUESTION] * 3)
            batches = [line for line in lines if line["saw"] == "batch"]
            self.assertEqual([line["failed"] for line in batches], [True, True, False])
            for line in batches[:2]:
                self.assertEqual(json.loads(line["text"])["error"]["code"], "not_confirmed")
            self.assertEqual(self.seen(lines, "left"), [6, 6, 0])

        self.each(ROWS, ["decline", "cancel", "accept"], judge)

    def test_a_call_that_the_client_gives_up_withdraws_its_question(self):
        def judge(lines):
            self.assertEqual(len([line for line in lines if line["saw"] == "gave_up"]), 1)
            self.assertEqual(self.seen(lines, "left"), [6, 0])

        self.each([row for row in ROWS if row.withdraws], ["late", "accept"], judge)


if __name__ == "__main__":
    unittest.main()
