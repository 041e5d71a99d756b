"""The items of `scripts/dev --demo`: each is written, and belongs where it says."""

import datetime
import json
import pathlib
import subprocess
import tempfile
import unittest
from collections import Counter

import pair

LINES = (pair.ROOT / "demo" / "items.txt").read_text().splitlines()


class Demo(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        pair.build()
        cls.both = pair.Pair()
        cls.addClassCleanup(cls.both.close)
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        token = pathlib.Path(folder.name) / "token"
        token.write_text(cls.both.token(sub="dev"))
        cls.call = [str(pair.MCP), "call", "--token-file", str(token)]
        cls.environment = cls.both.how["mcp"][2]
        script = '. scripts/lib/demo.sh; demo_items "$@"'
        command = ["bash", "-euo", "pipefail", "-c", script, "demo", *cls.call]
        subprocess.run(command, cwd=pair.ROOT, env=cls.environment, check=True, timeout=300)

    def ask(self, tool, **arguments):
        command = [*self.call, tool, "--args", json.dumps(arguments), "--json"]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=True
        )
        return json.loads(done.stdout)

    def test_there_are_some_fifty_items_of_every_kind(self):
        written = Counter(line.split(" ", 2)[1] for line in LINES)
        found = {each["kind"]: each["total"] for each in self.ask("overview")["kinds"]}
        self.assertEqual(found, dict(written))
        self.assertGreaterEqual(sum(found.values()), 50)

    def test_comments_and_messages_are_where_they_belong(self):
        chats = {item["uid"]: item["payload"]["title"] for item in self.ask("list_chats")["items"]}
        messages = self.ask("list_chat_messages", limit=100)["items"]
        of = Counter(chats[item["payload"]["chat_uid"]] for item in messages)
        self.assertEqual(of, {"Team": 4, "Café Lindgren": 3, "Finca La Loma": 3})
        comments = self.ask("list_comments", limit=100)["items"]
        parents = {item["payload"]["parent_uid"] for item in comments}
        titles = {self.ask("fetch", id=uid)["title"] for uid in parents}
        self.assertIn("Shop on Mill Street: what we know", titles)
        self.assertEqual(len(titles), 5)

    def test_due_dates_are_near_today(self):
        tasks = self.ask("list_tasks", limit=100)["items"]
        today = datetime.date.today()
        days = [datetime.date.fromisoformat(item["payload"]["due_date"]) - today for item in tasks]
        self.assertTrue(any(0 <= each.days <= 3 for each in days))
        self.assertTrue(any(each.days < 0 for each in days))


if __name__ == "__main__":
    unittest.main()
