"""Assistants for the terminal take what client-config prints.

Codex CLI lists the tools, Gemini CLI connects, and Claude Code works with them, with a stand-in for
its model. None needs an account for that. Where one of them is not installed for this machine, its
tests are skipped.
"""

import json
import subprocess
import unittest

from assistants import Assistant, ClaudeCode, CodexCli, pair


class Codex(CodexCli):
    def test_lists_the_tools_with_a_token(self):
        server = self.ask(self.configuration(), self.both.token())
        self.assertEqual(server["authStatus"], "bearerToken")
        self.assertEqual(len(server["tools"]), pair.tool_count())
        self.assertIs(server["tools"]["get_note"]["annotations"]["readOnlyHint"], True)

    def test_lists_the_tools_through_a_process(self):
        self.token_file.write_text(self.both.token())
        server = self.ask(self.configuration("--stdio"), "")
        self.assertEqual(len(server["tools"]), pair.tool_count())

    def test_lists_none_with_an_expired_token(self):
        server = self.ask(self.configuration(), self.both.token(ttl=-3600))
        self.assertEqual(len(server["tools"]), 0)

    def test_its_own_command_writes_the_same(self):
        environment = self.environment()
        for words, flags in [
            (["--url", self.both.url + "/mcp", "--bearer-token-env-var", "TOOLBRIDGE_TOKEN"], []),
            (
                [
                    "--",
                    pair.MCP,
                    "connect",
                    self.both.url + "/mcp",
                    "--token-file",
                    self.token_file,
                ],
                ["--stdio"],
            ),
        ]:
            command = [self.path, "mcp", "add", "toolbridge", *words]
            subprocess.run(
                command, cwd=self.project, env=environment, capture_output=True, check=True
            )
            written = (self.home / ".codex" / "config.toml").read_text()
            self.assertEqual(written.strip(), self.configuration(*flags).strip())


class Gemini(Assistant):
    program = "gemini"

    def list(self, token, configuration=None):
        folder = self.home / ".gemini"
        folder.mkdir(exist_ok=True)
        (folder / "trustedFolders.json").write_text(json.dumps({str(self.project): "TRUST_FOLDER"}))
        if configuration:
            (folder / "settings.json").write_text(configuration)
        done = self.run_it("mcp", "list", TOOLBRIDGE_TOKEN=token)
        return done.stdout + done.stderr

    def test_connects_with_a_token(self):
        said = self.list(self.both.token(), self.configuration())
        self.assertIn(f"{self.both.url}/mcp (http) - Connected", said)

    def test_connects_through_a_process(self):
        self.token_file.write_text(self.both.token())
        said = self.list("", self.configuration("--stdio"))
        self.assertIn("(stdio) - Connected", said)

    def test_does_not_connect_with_an_expired_token(self):
        said = self.list(self.both.token(ttl=-3600), self.configuration())
        self.assertIn("toolbridge", said)
        self.assertNotIn("- Connected", said)

    def test_its_own_command_writes_the_same(self):
        self.run_it(
            "mcp",
            "add",
            "--scope",
            "user",
            "--transport",
            "http",
            "--header",
            "Authorization: Bearer ${TOOLBRIDGE_TOKEN}",
            "toolbridge",
            self.both.url + "/mcp",
        )
        written = json.loads((self.home / ".gemini" / "settings.json").read_text())
        self.assertEqual(written["mcpServers"], json.loads(self.configuration())["mcpServers"])
        self.assertIn("- Connected", self.list(self.both.token()))


class Claude(ClaudeCode):
    def steps(self):
        def tool(name):
            return f"mcp__toolbridge__{name}"

        def note(results):
            return json.loads(results[1][0])["uid"]

        names = ["create_note", "patch_note", "get_note", "delete_note"]
        stale = {"updates": {"title": "u"}, "if_match": 9}
        return [
            ("ToolSearch", {"query": "select:" + ",".join(map(tool, names)), "max_results": 5}),
            (tool("create_note"), {"title": "From Claude Code", "content": "c"}),
            lambda results: (tool("patch_note"), {"uid": note(results), **stale}),
            lambda results: (tool("get_note"), {"uid": note(results)}),
            lambda results: (tool("delete_note"), {"uid": note(results)}),
        ]

    def check(self, *flags, token):
        allowed = ["create_note", "patch_note", "get_note"]
        model, begun, ended = self.work(self.steps(), allowed, *flags, token=token)
        self.assertEqual(
            [(each["name"], each["status"]) for each in begun["mcp_servers"]],
            [("toolbridge", "connected")],
        )
        tools = [name for name in begun["tools"] if name.startswith("mcp__toolbridge__")]
        self.assertEqual(len(tools), pair.tool_count())
        self.assertIn("ToolBridge holds the user's notes", model.told())
        _, created, patched, read, deleted = model.results()
        self.assertEqual([created[1], patched[1], read[1], deleted[1]], [False, True, False, True])
        self.assertIn("version_mismatch", patched[0])
        self.assertIn("suggested_action", patched[0])
        self.assertEqual(json.loads(read[0])["payload"]["title"], "From Claude Code")
        # A tool that was not allowed is asked about, and nothing answers here.
        denied = [each["tool_name"] for each in ended["permission_denials"]]
        self.assertEqual(denied, ["mcp__toolbridge__delete_note"])
        self.assertIn("permission", deleted[0])

    def test_its_model_works_with_the_tools(self):
        self.check(token=self.both.token(sub="http"))

    def test_its_model_works_with_the_tools_through_a_process(self):
        self.token_file.write_text(self.both.token(sub="stdio"))
        self.check("--stdio", token="")

    def test_it_is_asked_before_much_is_deleted(self):
        """It can show a question, and there is no person here to see it: it declines by itself."""
        self.both = pair.Pair(mcp={"TOOLBRIDGE_SERVER_SESSIONS": "stateful"})
        self.addCleanup(self.both.close)
        token = self.both.token(sub="asked")
        names = [f"mcp__toolbridge__{name}" for name in ("batch", "search")]
        create = {"op": "create", "kind": "note", "fields": {"title": "t", "content": "c"}}

        def deletes(results):
            made = json.loads(results[1][0])["results"]
            return [{"op": "delete", "kind": "note", "uid": each["uid"]} for each in made]

        steps = [
            ("ToolSearch", {"query": "select:" + ",".join(names), "max_results": 5}),
            (names[0], {"operations": [create] * 6}),
            lambda results: (names[0], {"operations": deletes(results)}),
            (names[1], {"kinds": ["note"], "limit": 0}),
        ]
        model, _, _ = self.work(steps, ["batch", "search"], token=token)
        _, made, deleted, counted = model.results()
        self.assertEqual(json.loads(made[0])["done"], 6)
        self.assertTrue(deleted[1], deleted[0])
        self.assertEqual(json.loads(deleted[0])["error"]["code"], "not_confirmed")
        self.assertEqual(json.loads(counted[0])["total"], 6)

    def test_it_has_no_tools_with_an_expired_token(self):
        _, begun, _ = self.work([], [], token=self.both.token(ttl=-3600))
        self.assertFalse([name for name in begun["tools"] if name.startswith("mcp__toolbridge__")])
        [server] = begun["mcp_servers"]
        self.assertNotEqual(server["status"], "connected")

    def test_its_own_command_writes_the_same(self):
        self.run_it(
            "mcp",
            "add",
            "--transport",
            "http",
            "--scope",
            "project",
            "toolbridge",
            self.both.url + "/mcp",
            "--header",
            "Authorization: Bearer ${TOOLBRIDGE_TOKEN}",
        )
        written = json.loads((self.project / ".mcp.json").read_text())
        self.assertEqual(written, json.loads(self.configuration()))


# They have no tests of their own.
del Assistant, ClaudeCode, CodexCli

if __name__ == "__main__":
    unittest.main()
