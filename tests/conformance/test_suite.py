"""What the run does with what it finds: nothing may pass that was not looked at."""

import socket
import threading
import unittest
from unittest import mock

import suite
from proxy import Proxy


def checks(*statuses):
    return [(f"check-{place}", status, "said") for place, status in enumerate(statuses)]


class Judging(unittest.TestCase):
    def test_what_passes(self):
        self.assertEqual(
            suite.judge("passes", checks("SUCCESS", "INFO", "SUCCESS", "SKIPPED")), ("2 passed", [])
        )

    def test_failures_and_warnings_are_wrong(self):
        for status in ("FAILURE", "WARNING"):
            self.assertEqual(suite.judge("passes", checks("SUCCESS", status))[1], ["check-1: said"])

    def test_nothing_is_no_success(self):
        for empty in ([], checks("INFO"), checks("SKIPPED")):
            self.assertEqual(suite.judge("passes", empty)[1], ["nothing was checked"])

    def test_an_excuse_is_for_one_check_and_as_long_as_it_is_needed(self):
        entry = {"except": {"check-1": "tools"}}
        self.assertEqual(
            suite.judge(entry, checks("SUCCESS", "FAILURE")), ("1 passed, 1 excused", [])
        )
        self.assertEqual(
            suite.judge(entry, checks("FAILURE", "FAILURE", "SUCCESS"))[1], ["check-0: said"]
        )
        self.assertIn("take its excuse out", suite.judge(entry, checks("SUCCESS", "SUCCESS"))[1][0])


class Table(unittest.TestCase):
    def faults(self, *names, table):
        asked = mock.Mock()
        asked.scenarios.return_value = dict.fromkeys(names, ["2025-11-25"])
        asked.required.return_value = (set(), set())
        with mock.patch.object(suite, "TABLE", {"reasons": {"tools": "…"}, "scenarios": table}):
            return suite.rows(asked)[1]

    def test_a_scenario_must_be_known_and_must_exist(self):
        row = dict.fromkeys(suite.SERVERS, "passes")
        self.assertEqual(self.faults("a", table={"a": row}), [])
        self.assertIn("a is in the suite and not in the table", self.faults("a", table={}))
        self.assertIn("a is in the table and not in the suite", self.faults(table={"a": row}))

    def test_each_server_has_a_word_that_is_explained(self):
        row = dict.fromkeys(suite.SERVERS, "passes")
        self.assertIn(
            "a: mood is not among the reasons",
            self.faults("a", table={"a": {**row, "product": "mood"}}),
        )
        excused = {**row, "product": {"except": {"check": "mood"}}}
        self.assertIn("a: mood is not among the reasons", self.faults("a", table={"a": excused}))
        del row["product"]
        self.assertIn("a: no word on product", self.faults("a", table={"a": row}))

    def test_a_word_may_be_for_one_revision(self):
        with mock.patch.object(
            suite,
            "TABLE",
            {"scenarios": {"a": {"product": {"2025-11-25": "tools", "2026-07-28": "passes"}}}},
        ):
            said = [
                suite.is_run(suite.entry_of("a", "product", revision))
                for revision in suite.REVISIONS[2:]
            ]
        self.assertEqual(said, [False, True])


class ClientTable(unittest.TestCase):
    def rows(self, *names, table):
        asked = mock.Mock()
        asked.scenarios.return_value = dict.fromkeys(names, ["2024-01-01", "2025-11-25"])
        with mock.patch.object(suite, "TABLE", {"reasons": {"sign-in": "…"}, "client": table}):
            return suite.client_rows(asked)

    def test_runs_what_is_to_pass_in_each_served_revision(self):
        table = {"a": "passes", "auth/": "sign-in"}
        self.assertEqual(
            self.rows("a", "auth/b", "auth/c", table=table), ([("a", "2025-11-25")], [])
        )

    def test_a_scenario_must_be_known_and_must_exist(self):
        self.assertIn("a is in the suite and not", self.rows("a", table={})[1][0])
        self.assertIn("a is in the table and not", self.rows(table={"a": "passes"})[1][0])
        self.assertIn("mood is not among", self.rows("a", table={"a": "mood"})[1][0])


class TheProxy(unittest.TestCase):
    def test_a_request_gets_one_token_and_is_else_as_it_was(self):
        server = socket.create_server(("127.0.0.1", 0))
        seen = []

        def answer():
            there, _ = server.accept()
            with there:
                while not b"".join(seen).endswith(b"body"):
                    seen.append(there.recv(4096))
                there.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nanswer")

        threading.Thread(target=answer, daemon=True).start()
        proxy = Proxy(server.getsockname()[1], lambda: "token")
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(
                b"POST /mcp HTTP/1.1\r\nHost: evil.example\r\nauthorization: other\r\nMcp-Name:  x "
                b"\r\n\r\nbo"
            )
            client.sendall(b"dy")
            said = b""
            while part := client.recv(4096):
                said += part
        self.assertTrue(said.endswith(b"answer"))
        self.assertEqual(
            b"".join(seen),
            b"POST /mcp HTTP/1.1\r\nHost: evil.example\r\nMcp-Name:  x \r\nAuthorization: Bearer "
            b"token\r\nConnection: close\r\n\r\nbody",
        )
        proxy.close()
        server.close()


if __name__ == "__main__":
    unittest.main()
