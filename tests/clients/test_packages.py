"""What people install works: the bundle for Claude Desktop, the archive, and the npm package.

`scripts/bundle` makes them of the program under test. Its size here is that of a development build.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
import threading
import unittest
import zipfile
import zlib

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE.parent / "scripts"))
sys.path.insert(0, str(ROOT / "packaging"))
import bundle  # noqa: E402
import icon  # noqa: E402
import pair  # noqa: E402

TIMEOUT = 300
NODES = [str(path) for path in HERE.glob("node_modules/node-linux-*/bin")]
PATH = os.pathsep.join([*NODES, os.environ["PATH"]])
MACHINES = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}
SYSTEMS = {"Linux": "linux", "Darwin": "macos"}
PLATFORM = f"{SYSTEMS[os.uname().sysname]}-{MACHINES[os.uname().machine]}"


class Client:
    """A client that starts a process and speaks MCP to it, as Claude Desktop does."""

    def __init__(self, command, environment, folder):
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.limit = threading.Timer(TIMEOUT, self.process.kill)
        # A test that fails does not wait for it.
        self.limit.daemon = True
        self.limit.start()
        self.count = 0

    def send(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, method, params):
        self.count += 1
        self.send({"id": self.count, "method": method, "params": params})
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self.count:
                return answer["result"]
        raise AssertionError(f"no answer to {method}: {self.process.stderr.read()}")

    def call(self, tool, **arguments):
        return self.ask("tools/call", {"name": tool, "arguments": arguments})

    def walk(self, test):
        """What a person does with it: list the tools, write, read, delete."""
        client = {"name": "desktop", "version": "1"}
        begun = self.ask(
            "initialize",
            {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client},
        )
        test.assertEqual(begun["serverInfo"]["name"], "toolbridge-mcp")
        self.send({"method": "notifications/initialized"})
        tools = self.ask("tools/list", {})["tools"]
        test.assertEqual(len(tools), pair.tool_count())
        note = self.call("create_note", title="t", content="c")["structuredContent"]
        read = self.call("get_note", uid=note["uid"])
        test.assertIs(read["isError"], False)
        test.assertIs(self.call("delete_note", uid=note["uid"])["isError"], False)

    def close(self):
        self.process.stdin.close()
        code = self.process.wait(TIMEOUT)
        self.limit.cancel()
        self.process.stdout.close()
        self.process.stderr.close()
        return code


class Packages(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name).resolve()
        cls.out = cls.folder / "out"
        cls.make(cls.out)
        cls.both = pair.Pair()
        cls.addClassCleanup(cls.both.close)
        cls.home = cls.folder / "home"
        cls.home.mkdir()
        cls.environment = {"PATH": PATH, "HOME": str(cls.home)}
        cls.base = f"toolbridge-mcp-{bundle.version()}"

    @classmethod
    def make(cls, out):
        command = [ROOT / "scripts" / "bundle", "--out", out, f"{PLATFORM}={pair.MCP}"]
        environment = {**os.environ, "PATH": PATH}
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)

    def run_in(self, folder, *command):
        """npm finds nothing but what is given: it may not ask a registry."""
        environment = {
            **self.environment,
            "npm_config_offline": "true",
            "npm_config_audit": "false",
        }
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_claude_desktop_starts_the_bundle(self):
        packed = self.out / f"{self.base}-{PLATFORM}.mcpb"
        folder = self.folder / "unpacked"
        mcpb = HERE / "node_modules" / ".bin" / "mcpb"
        self.run_in(self.folder, mcpb, "unpack", packed, folder)
        said = self.run_in(self.folder, mcpb, "validate", folder / "manifest.json")
        self.assertIn("Manifest schema validation passes", said)

        manifest = json.loads((folder / "manifest.json").read_text())
        self.assertIs(manifest["user_config"]["token"]["sensitive"], True)
        self.assertTrue((folder / manifest["icon"]).read_bytes().startswith(b"\x89PNG"))
        values = {
            "${__dirname}": str(folder),
            "${user_config.url}": self.both.url,
            "${user_config.token}": self.both.token(),
        }

        def filled(text):
            for name, value in values.items():
                text = text.replace(name, value)
            self.assertNotIn("${", text)
            return text

        server = manifest["server"]["mcp_config"]
        command = [filled(word) for word in [server["command"], *server["args"]]]
        self.assertEqual(command[0], str(folder / manifest["server"]["entry_point"]))
        self.assertNotIn(self.both.token(), " ".join(command), "a token is in no command line")
        environment = {name: filled(text) for name, text in server["env"].items()}
        client = Client(command, {**self.environment, **environment}, self.home)
        client.walk(self)
        self.assertEqual(client.close(), 0)

    def test_npx_starts_the_package(self):
        project = self.folder / "project"
        project.mkdir()
        (project / "package.json").write_text("{}")
        packages = sorted(self.out.glob("*.tgz"))
        self.assertEqual(len(packages), 2)
        self.run_in(project, "npm", "install", "--ignore-scripts", *packages)
        words = ["npx", "-y", "@toolbridge/mcp", "connect", self.both.url]
        environment = {**self.environment, "npm_config_offline": "true"}
        token = {"TOOLBRIDGE_TOKEN": self.both.token()}
        client = Client(words, {**environment, **token}, project)
        client.walk(self)
        self.assertEqual(client.close(), 0)

        installed = project / "node_modules" / ".bin" / "toolbridge-mcp"
        ended = Client([installed, *words[3:]], {**environment, **token}, project)
        self.addCleanup(ended.process.kill)
        # It runs: it answers.
        ended.walk(self)
        ended.process.terminate()
        self.assertEqual(ended.process.wait(TIMEOUT), 0, "the program ends as by its own signal")
        ended.close()

        refused = subprocess.run(
            words,
            cwd=project,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        self.assertEqual(refused.returncode, 77, "exit codes are those of the program")
        self.assertIn("TOOLBRIDGE_TOKEN", refused.stderr)

    def test_the_npm_package_brings_the_programs_of_its_version(self):
        described = json.loads((self.out / "npm" / "mcp" / "package.json").read_text())
        [(name, version)] = described["optionalDependencies"].items()
        of_platform = next((self.out / "npm").glob("mcp-*")) / "package.json"
        program = json.loads(of_platform.read_text())
        self.assertEqual((program["name"], program["version"]), (name, version))
        self.assertEqual(version, described["version"])
        node = "JSON.stringify([process.platform, process.arch])"
        here = json.loads(self.run_in(self.folder, "node", "-p", node))
        self.assertEqual([*program["os"], *program["cpu"]], here)

    def test_the_npm_package_says_what_is_missing(self):
        project = self.folder / "without"
        project.mkdir()
        (project / "package.json").write_text("{}")
        alone = self.out / f"{self.base}.tgz"
        self.run_in(project, "npm", "install", "--omit=optional", "--ignore-scripts", alone)
        done = subprocess.run(
            [project / "node_modules" / ".bin" / "toolbridge-mcp", "version"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        self.assertEqual(done.returncode, 69)
        self.assertIn("there is no program for", done.stderr)

    def test_the_archive_has_the_program(self):
        with tarfile.open(self.out / f"{self.base}-{PLATFORM}.tar.gz") as archive:
            archive.extractall(self.folder, filter="data")
        program = self.folder / f"{self.base}-{PLATFORM}" / "toolbridge-mcp"
        self.assertIn(bundle.version(), self.run_in(self.folder, program, "version"))

    def test_checksums_name_every_file(self):
        listed = dict(
            reversed(line.split("  "))
            for line in (self.out / "SHA256SUMS").read_text().splitlines()
        )
        files = {file.name for file in self.out.iterdir() if file.is_file()} - {"SHA256SUMS"}
        self.assertEqual(set(listed), files)
        for name, digest in listed.items():
            self.assertEqual(hashlib.sha256((self.out / name).read_bytes()).hexdigest(), digest)

    def test_archives_and_bundles_are_reproducible(self):
        again = self.folder / "again"
        self.make(again)
        for name in [f"{self.base}-{PLATFORM}.mcpb", f"{self.base}-{PLATFORM}.tar.gz"]:
            self.assertEqual((self.out / name).read_bytes(), (again / name).read_bytes(), name)


class Files(unittest.TestCase):
    def test_the_manifest_of_windows_names_the_program(self):
        manifest = bundle.manifest("windows-x64")
        self.assertEqual(manifest["server"]["entry_point"], "server/toolbridge-mcp.exe")
        self.assertEqual(manifest["compatibility"]["platforms"], ["win32"])

    def test_programs_in_a_zip_are_executable(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "a.zip"
            bundle.zipped(path, [("program", bundle.EXECUTABLE, b"x")])
            with zipfile.ZipFile(path) as archive:
                mode = archive.getinfo("program").external_attr >> 16
        self.assertEqual(mode, 0o100755)

    def test_the_icon_is_what_its_program_draws(self):
        """Compared as pixels, because compressors differ."""
        for name, size in [("packaging/icon.png", 512), ("src/mcp/icon.png", 64)]:
            data, rows, place = (ROOT / name).read_bytes(), b"", 8
            while place < len(data):
                length = int.from_bytes(data[place : place + 4], "big")
                if data[place + 4 : place + 8] == b"IDAT":
                    rows += data[place + 8 : place + 8 + length]
                place += length + 12
            drawn = b"".join(b"\0" + row for row in icon.pixels(size))
            self.assertEqual(zlib.decompress(rows), drawn, name)


if __name__ == "__main__":
    unittest.main()
