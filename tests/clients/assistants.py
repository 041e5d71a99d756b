"""Claude Code and Codex CLI, as tests start and ask them."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import unittest

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "scripts"))
import pair  # noqa: E402
from scripted_model import ScriptedModel  # noqa: E402

TIMEOUT = 120


class Assistant(unittest.TestCase):
    program = ""
    # Its name for client-config, where that is another one.
    client = ""

    @classmethod
    def find(cls):
        return HERE / "node_modules" / ".bin" / cls.program

    @classmethod
    def setUpClass(cls):
        cls.path = cls.find()
        nodes = [str(path) for path in HERE.glob("node_modules/node-linux-*/bin")]
        cls.search = os.pathsep.join([*nodes, os.environ["PATH"]])
        if not cls.path.exists() or not cls.answers():
            raise unittest.SkipTest(f"{cls.program} does not run on this machine")
        cls.both = cls.programs()

    @classmethod
    def programs(cls):
        """Both programs, which the assistant is to use."""
        both = pair.Pair()
        cls.addClassCleanup(both.close)
        return both

    @classmethod
    def answers(cls):
        """Whether it says its version. It writes into its home even then."""
        with tempfile.TemporaryDirectory() as home:
            done = subprocess.run(
                [cls.path, "--version"],
                env={"PATH": cls.search, "HOME": home},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT,
            )
        return done.returncode == 0

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = pathlib.Path(folder.name).resolve()
        self.project = self.home / "project"
        self.project.mkdir()
        self.token_file = self.home / ".toolbridge-token"
        self.token_file.touch(0o600)

    def environment(self, **more):
        return {"PATH": self.search, "HOME": str(self.home), **more}

    def configuration(self, *flags):
        command = [
            pair.MCP,
            "client-config",
            self.client or self.program,
            "--url",
            self.both.url,
            "--json",
            *flags,
        ]
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, check=True
        )
        return done.stdout

    def run_it(self, *words, **environment):
        """A run that succeeds, and what it printed."""
        done = subprocess.run(
            [self.path, *words],
            cwd=self.project,
            env=self.environment(**environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done


class CodexCli(Assistant):
    program = "codex"

    def ask(self, configuration, token):
        """The status of the configured server, by the protocol that editors speak with Codex."""
        file = self.home / ".codex" / "config.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(configuration)
        process = subprocess.Popen(
            [self.path, "app-server"],
            cwd=self.project,
            env=self.environment(TOOLBRIDGE_TOKEN=token),
            text=True,
            start_new_session=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        limit = threading.Timer(TIMEOUT, os.killpg, (process.pid, 9))
        limit.start()
        try:
            client = {"clientInfo": {"name": "toolbridge-tests", "version": "0"}}
            self.request(process, 1, "initialize", client)
            process.stdin.write('{"method": "initialized"}\n')
            status = self.request(process, 2, "mcpServerStatus/list", {})
        finally:
            limit.cancel()
            if process.poll() is None:
                os.killpg(process.pid, 15)
            process.communicate()
        [server] = status["data"]
        self.assertEqual(server["name"], "toolbridge")
        return server

    def request(self, process, number, method, parameters):
        process.stdin.write(
            json.dumps({"id": number, "method": method, "params": parameters}) + "\n"
        )
        process.stdin.flush()
        for line in process.stdout:
            message = json.loads(line)
            if message.get("id") == number and "method" not in message:
                return message["result"]
        self.fail(f"codex ended without an answer to {method}")


class ClaudeCode(Assistant):
    program = "claude"
    client = "claude-code"

    @classmethod
    def find(cls):
        """Its own script puts the program in place, which is in a package beside it."""
        found = sorted(HERE.glob("node_modules/@anthropic-ai/claude-code-linux-*/claude"))
        return found[0] if found else HERE / "claude"

    def environment(self, **more):
        return super().environment(
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1", DISABLE_AUTOUPDATER="1", **more
        )

    def work(self, steps, allowed, *flags, token):
        """What came of a prompt with which the model takes these steps: model and report."""
        configuration = self.project / "servers.json"
        configuration.write_text(self.configuration(*flags))
        model = ScriptedModel(steps)
        self.addCleanup(model.close)
        said = self.run_it(
            "-p",
            "Do what is to be done.",
            "--mcp-config",
            configuration,
            "--strict-mcp-config",
            "--output-format",
            "stream-json",
            "--verbose",
            "--allowedTools",
            ",".join(f"mcp__toolbridge__{tool}" for tool in allowed),
            ANTHROPIC_BASE_URL=model.url,
            ANTHROPIC_API_KEY="none",
            TOOLBRIDGE_TOKEN=token,
        ).stdout
        lines = [json.loads(line) for line in said.splitlines()]
        begun = next(line for line in lines if line.get("subtype") == "init")
        ended = next(line for line in lines if line["type"] == "result")
        return model, begun, ended
