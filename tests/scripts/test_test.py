"""scripts/test: what it installs, leaves out and reports. The parts are stand-ins here."""

import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SYSTEM = """awk basename bash cat chmod cut dirname env head kill mkdir mkfifo mktemp paste python3
rm sed sleep sort tail touch tr""".split()
TEXT = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
STAND_INS = {
    "cargo": "exit 0",
    "rustc": "echo 'rustc 99.0.0 (0 2099-01-01)'",
    "go": "echo go99.0",
    "id": "echo 0",
    "cc": "exit 0",
    "node": "exit 0",
    "npm": "exit 0",
    "chromium": "exit 0",
    "prometheus": "exit 0",
    "promtool": "exit 0",
    # Records how it was called, and installs what it is told to.
    "apt-get": """echo "apt-get $*" >>"$BIN/../calls"
case " $* " in *" install "*) ;; *) exit 0 ;; esac
for name; do
    case "$name" in [a-z]*) echo '#!/bin/sh' >"$BIN/$name"; chmod +x "$BIN/$name" ;; esac
done""",
}


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        for name in SYSTEM:
            (self.bin / name).symlink_to(shutil.which(name))
        for name, body in STAND_INS.items():
            self.stand_in(name, body)
        self.work = self.folder / "work"
        shutil.copytree(ROOT / "scripts", self.work / "scripts")
        (self.work / "api").mkdir()
        for name in ("Cargo.toml", "api/go.mod"):
            shutil.copy(ROOT / name, self.work / name)
        self.browser("echo the page was looked at")
        (self.work / "tests" / "observability").mkdir()
        self.watched("pass")
        self.system("debian")

    def stand_in(self, name, body):
        self.put(self.bin / name, "#!/usr/bin/env bash\n" + body + "\n")

    def put(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def browser(self, body):
        self.put(self.work / "tests/browser/run", "#!/usr/bin/env bash\n" + body + "\n")

    def watched(self, body):
        self.put(
            self.work / "tests/observability/test_it.py",
            f"import unittest\nclass T(unittest.TestCase):\n  def test(self):\n    {body}\n",
        )

    def system(self, name):
        (self.folder / "os-release").write_text(f'NAME="Some system"\nID={name}\n')

    def env(self, **more):
        return {
            "PATH": str(self.bin),
            "BIN": str(self.bin),
            "HOME": str(self.folder),
            "OS_RELEASE": str(self.folder / "os-release"),
            **more,
        }

    def run_it(self, *args, **env):
        done = subprocess.run(
            [self.work / "scripts/test", *args],
            env=self.env(**env),
            timeout=300,
            stdin=subprocess.DEVNULL,
            **TEXT,
        )
        return done.returncode, done.stdout

    def on_a_terminal(self, answer, *args):
        primary, secondary = pty.openpty()
        program = subprocess.Popen(
            [self.work / "scripts/test", *args], env=self.env(), stdin=secondary, **TEXT
        )
        os.close(secondary)
        os.write(primary, answer.encode())
        said, _ = program.communicate(timeout=300)
        os.close(primary)
        return program.returncode, said

    def calls(self):
        calls = self.folder / "calls"
        return calls.read_text().splitlines() if calls.exists() else []

    def check(self, done, code, *words, never=()):
        self.assertEqual(done[0], code, done[1])
        for word in words:
            self.assertIn(word, done[1])
        for word in never:
            self.assertNotIn(word, done[1])


class Running(Case):
    def test_parts_run_and_the_table_says_how_long_each_took(self):
        for jobs in ("1", "2"):
            done = self.run_it("--jobs", jobs, "browser", "observability")
            self.check(done, 0, "the page was looked at", "all good")
            for name in ("browser", "observability"):
                self.assertRegex(done[1], rf"(?m)^{name} +\d+ +\d+   passed$")
        self.assertEqual(self.calls(), [])

    def test_the_table_shows_the_processor_time_of_each_part(self):
        self.browser("python3 -c 'import time\nwhile time.process_time() < 2: pass'")
        for jobs in ("1", "2"):
            done = self.run_it("--jobs", jobs, "browser", "observability")
            cpu = re.search(r"(?m)^browser +\d+ +(\d+)   passed$", done[1])
            self.assertGreaterEqual(int(cpu.group(1)), 2, done[1])

    def test_a_part_that_fails_is_named_and_the_others_run_all_the_same(self):
        self.watched("self.fail('no figures')")
        for jobs in ("1", "2"):
            done = self.run_it("--jobs", jobs, "observability", "browser")
            self.check(done, 1, "no figures", "the page was looked at", never=["all good"])
            self.assertRegex(done[1], r"(?m)^observability +\d+ +\d+   FAILED$")
            self.assertRegex(done[1], r"(?m)^browser +\d+ +\d+   passed$")

    def test_a_command_in_the_middle_of_a_part_fails_it(self):
        for jobs in ("1", "2"):
            self.stand_in("cargo", 'case "$1" in clippy) exit 1 ;; esac')
            (self.work / "tests/conformance").mkdir(exist_ok=True)
            self.put(self.work / "tests/conformance/run", "#!/bin/sh\necho the suite was run\n")
            done = self.run_it("--jobs", jobs, "conformance", "browser")
            self.check(done, 1, never=["the suite was run"])

    def test_a_signal_ends_the_parts_that_run(self):
        os.mkfifo(self.folder / "begun")
        os.mkfifo(self.folder / "alive")
        self.browser(
            f'exec 3>"{self.folder}/alive"; echo yes >"{self.folder}/begun"\n'
            "sleep 600; echo not ended >&3"
        )
        program = subprocess.Popen(
            [self.work / "scripts/test", "browser", "observability"],
            env=self.env(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        with open(self.folder / "alive") as alive:
            self.assertEqual((self.folder / "begun").read_text(), "yes\n")
            program.send_signal(signal.SIGTERM)
            # The pipe ends when the part and all that it started have ended.
            self.assertEqual(alive.read(), "")
        self.assertEqual(program.wait(300), 143)

    def test_parts_can_be_left_out(self):
        done = self.run_it("--without", "browser", "browser", "observability")
        self.check(done, 0, never=["the page was looked at"])


class Installing(Case):
    def without_chromium(self):
        (self.bin / "chromium").unlink()

    def test_what_is_missing_is_installed_and_nothing_else(self):
        for args, env in ((["--yes"], {}), ([], {"CI": "true"})):
            self.without_chromium()
            self.check(self.run_it(*args, "browser", **env), 0, "the page was looked at")
            update, install = self.calls()[-2:]
            self.assertIn("update", update)
            self.assertRegex(install, r"install .* chromium$")

    def test_sudo_where_it_is_needed(self):
        self.without_chromium()
        self.stand_in("id", "echo 1000")
        self.stand_in("sudo", 'echo "sudo $*" >>"$BIN/../calls"; exec "$@"')
        self.check(self.run_it("--yes", "browser"), 0, "the page was looked at")
        self.assertEqual([call.split()[0] for call in self.calls()], ["sudo", "apt-get"] * 2)

    def test_a_package_is_named_and_not_the_program_that_it_brings(self):
        (self.bin / "kill").unlink()
        done = self.run_it("rust")
        self.check(done, 69, "missing here: procps openssl", "it needs kill, openssl")

    def test_without_a_terminal_nothing_is_installed_unasked(self):
        self.without_chromium()
        self.check(
            self.run_it("browser"),
            69,
            "missing here: chromium",
            "--yes",
            "browser cannot run here: it needs chromium",
        )
        self.assertEqual(self.calls(), [])

    def test_on_a_terminal_it_asks(self):
        self.without_chromium()
        self.check(self.on_a_terminal("n\n", "browser"), 69, "it needs chromium")
        self.assertEqual(self.calls(), [])
        self.check(self.on_a_terminal("\n", "browser"), 0, "the page was looked at")
        self.assertRegex(self.calls()[-1], r"install .* chromium$")

    def test_elsewhere_it_says_how_to_get_what_is_missing(self):
        self.without_chromium()
        self.system("fedora")
        done = self.run_it("--yes", "browser")
        self.check(done, 69, "brew install --cask chromium", "it needs chromium")
        self.assertEqual(self.calls(), [])

    def test_packages_that_cannot_be_installed(self):
        self.without_chromium()
        self.stand_in("apt-get", "exit 100")
        self.check(self.run_it("--yes", "browser"), 69, "could not install", "it needs chromium")

    def test_of_all_parts_those_that_cannot_run_are_left_out(self):
        self.without_chromium()
        # Every other part fails at once: the table is what counts here.
        self.stand_in("cargo", "exit 1")
        done = self.run_it()
        self.assertRegex(done[1], r"(?m)^browser +- +-   left out: needs chromium$")
        self.assertRegex(done[1], r"(?m)^rust .* FAILED$|^rust .*left out: needs openssl$")
        self.check(self.run_it(CI="true", OS_RELEASE="/nonexistent"), 69, "cannot run here")


class Usage(Case):
    def test_mistakes_on_the_command_line(self):
        for args, words in (
            (["pages"], "unknown part pages"),
            (["--without", "pages"], "unknown part pages"),
            (["--wat"], "unknown option --wat"),
            (["--jobs", "many"], "--jobs takes a number"),
            (["--without"], "--without needs a value"),
            (["--without", "go", "go"], "no part is left"),
        ):
            self.check(self.run_it(*args), 64, words, "see scripts/test --help")

    def test_help(self):
        done = self.run_it("--help")
        self.check(done, 0, "scripts/test [OPTION…] PART…", "Exit codes", never=["set -euo"])


if __name__ == "__main__":
    unittest.main()
