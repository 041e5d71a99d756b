"""A copy of the scripts in a repository of its own, in a path with spaces, with the stand-in for
flyctl."""

import json
import os
import pathlib
import re
import shutil
import stat
import subprocess
import tempfile
import unittest

import pair

HERE = pathlib.Path(__file__).resolve().parent


class RepositoryCase(unittest.TestCase):
    def setUp(self):
        made = tempfile.TemporaryDirectory(prefix="toolbridge scripts ")
        self.addCleanup(made.cleanup)
        self.outside = pathlib.Path(made.name)
        self.root = self.outside / "the repository"
        self.root.mkdir()
        shutil.copytree(pair.ROOT / "scripts", self.root / "scripts")
        for name in ("fly.toml", ".gitignore"):
            shutil.copy(pair.ROOT / name, self.root)
        (self.root / "Dockerfile").write_text("FROM scratch\n")
        self.git("init", "--quiet")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a commit")
        self.state_file = self.outside / "fly.json"
        self.state(apps={}, fails=[], log=[])
        self.env = {
            "PATH": f"{HERE / 'stand-in'}:{os.environ['PATH']}",
            "HOME": str(self.outside),
            "FLY_STATE": str(self.state_file),
        }

    def git(self, *args):
        return subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *args],
            cwd=self.root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def state(self, **changed):
        """Fly's state, with some of it changed."""
        now = json.loads(self.state_file.read_text()) if self.state_file.exists() else {}
        now.update(changed)
        self.state_file.write_text(json.dumps(now))
        return now

    def app(self, name="toolbridge-acme"):
        return self.state()["apps"][name]

    def calls(self, *beginning):
        """What flyctl was told that begins so, as lines."""
        lines = [" ".join(call["args"]) for call in self.state()["log"]]
        return [line for line in lines if line.startswith(beginning or "")]

    def run_script(self, name, *args, code=0, says=(), never=(), env=(), cwd=None):
        done = subprocess.run(
            [self.root / "scripts" / name, *args],
            env={**self.env, **dict(env)},
            cwd=cwd or self.outside,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, said)
        for words in [says] if isinstance(says, str) else says:
            self.assertIn(words, said)
        for words in never:
            self.assertNotIn(words, said)
        self.nothing_secret_in(said)
        return said

    def nothing_secret_in(self, said):
        """No secret of any tenant is in what was printed, nor in an argument; and only this user
        can read them."""
        for file in self.root.glob("tenants/*/*"):
            self.assertEqual(stat.S_IMODE(file.stat().st_mode), 0o600, file)
            for value in re.findall(
                r"^(?!BACKUP|KIND|NAME)[A-Z0-9_]+=(.+)$", file.read_text(), re.M
            ):
                if file.name != "fly.toml":
                    self.assertNotIn(value, said)
                    for call in self.state()["log"]:
                        self.assertNotIn(value, " ".join(call["args"]))
        self.assertEqual(list(self.root.glob("tenants/*/.*")), [], "a half-made file was left")

    def file(self, name, tenant="acme"):
        return self.root / "tenants" / tenant / name

    def secrets(self, tenant="acme"):
        return dict(
            line.split("=", 1) for line in self.file("secrets.env", tenant).read_text().splitlines()
        )

    def stub_smoke(self, code=0):
        """A check that only records: its arguments and whether it was given a token."""
        smoke = self.root / "scripts" / "smoke"
        smoke.write_text(
            f'#!/bin/sh\necho "smoke $* ${{TOOLBRIDGE_TOKEN:+with a token}}"\nexit {code}\n'
        )
        self.git("commit", "--quiet", "--all", "--allow-empty", "--message", "a stub")

    def serve_at(self, url, api_url):
        """The real check again, with the tenant at the addresses of a real pair."""
        shutil.copy(pair.ROOT / "scripts" / "smoke", self.root / "scripts")
        lines = self.file("fly.toml").read_text()
        lines = re.sub(r'(TOOLBRIDGE_SERVER_PUBLIC_URL\s*=\s*)".*"', rf'\1"{url}"', lines)
        self.file("fly.toml").write_text(lines)
        self.publish_api(api_url.rpartition(":")[2])

    def publish_api(self, port):
        """The tenant's REST API has a port of its own, as docs/OPERATIONS.md describes it."""
        lines = self.file("fly.toml").read_text().partition("\n[[services]]")[0]
        self.file("fly.toml").write_text(
            f"{lines}\n[[services]]\n  [[services.ports]]\n    port = {port}\n"
        )
